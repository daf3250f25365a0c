import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { Refusal } from '../core/refusal.js'
import type { Ledger } from '../ledger/ledger.js'

export interface HealthRouteOptions {
  /** Whether the issuer's keys are known and its address answers. */
  keysState: () => 'fresh' | 'stale' | 'none'
  ledger: Ledger
  /** Whether every replay ring answers; the ledger decides without them. */
  replayStoreReachable: () => boolean
}

export const healthSchema = z.strictObject({ status: z.enum(['ok', 'degraded']) }).meta({ id: 'Health' })

/**
 * Liveness says that the process answers. Readiness fails only when nothing could be served: no usable keys or no ledger;
 * keys that outlive an unreachable issuer, and a shared replay ring that is out of reach, are `degraded`.
 */
export const healthRoutes: FastifyPluginAsyncZod<HealthRouteOptions> = async (
  app,
  { keysState, ledger, replayStoreReachable },
) => {
  app.route({
    method: 'GET',
    url: '/livez',
    config: { access: 'public' },
    schema: {
      operationId: 'getLiveness',
      summary: 'Whether the process answers',
      tags: ['operations'],
      response: { 200: healthSchema },
    },
    handler: async () => ({ status: 'ok' }) as const,
  })

  app.route({
    method: 'GET',
    url: '/readyz',
    config: { access: 'public' },
    schema: {
      operationId: 'getReadiness',
      summary: 'Whether requests can be served',
      tags: ['operations'],
      response: { 200: healthSchema },
    },
    handler: async () => {
      if (!(await ledger.isReachable())) throw new Refusal('ledger-unavailable')
      const keys = keysState()
      if (keys === 'none') throw new Refusal('keys-unavailable')
      return { status: keys === 'fresh' && replayStoreReachable() ? 'ok' : 'degraded' } as const
    },
  })
}
