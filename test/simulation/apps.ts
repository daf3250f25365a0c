import Fastify, { type FastifyInstance } from 'fastify'
import { buildApp } from '#src/app.js'
import { readConfig } from '#src/config.js'
import type { Clock } from '#src/core/clock.js'
import type { Ledger } from '#src/ledger/ledger.js'
import accessPolicy from '#src/plugins/access-policy.js'
import accessToken from '#src/plugins/access-token.js'
import idempotency from '#src/plugins/idempotency.js'
import problem from '#src/plugins/problem.js'
import singleUse from '#src/plugins/single-use.js'
import type { ReplayStore } from '#src/replay/replay-store.js'
import type { Payments } from './payments.js'
import { audience, issuer, keySource, leewaySeconds, maxLifetimeSeconds } from './tokens.js'

/** What stands behind whom: memory and Redis in front of a ledger, or one of them as the last ring in front of payments. */
export const configurations = ['ledger', 'memory', 'redis'] as const
export type Configuration = (typeof configurations)[number]

/** The parts that a replica has in one schedule. */
export interface Parts {
  clock: Clock
  /** By which a token's claim is made: the same, but for a planted bug. Only a service has it. */
  claimClock: Clock
  replayStore: ReplayStore
  ledger: Ledger
  payments: Payments
  /** Whether a payment that failed with this error certainly moved nothing. */
  isCertainFailure(error: unknown): boolean
}

/** A real app whose parts are exchanged for every schedule, since building one takes long. */
export interface Slot {
  app: FastifyInstance
  /** What the app's parts stand for at the moment. */
  parts: Parts
}

/** Builds the app of a replica that starts at this time, for any number of schedules. */
export async function openSlot(configuration: Configuration, startMs: number): Promise<Slot> {
  const retention = configuration === 'memory' ? 'process' : 'shared'
  const startClock = { nowMs: () => startMs }
  const slot = { parts: { clock: startClock, claimClock: startClock } } as Slot
  const parts = delegateTo(slot, retention)
  slot.app = await (configuration === 'ledger' ? buildServer(parts) : buildService(parts))
  await slot.app.ready()
  return slot
}

function delegateTo(slot: Slot, retention: ReplayStore['retention']): Parts {
  return {
    clock: { nowMs: () => slot.parts.clock.nowMs() },
    claimClock: { nowMs: () => slot.parts.claimClock.nowMs() },
    replayStore: {
      retention,
      isReachable: true,
      consume: (claim) => slot.parts.replayStore.consume(claim),
      release: (claim) => slot.parts.replayStore.release(claim),
    },
    ledger: new Proxy({} as Ledger, {
      get: (_, name) => (Reflect.get(slot.parts.ledger, name) as () => unknown).bind(slot.parts.ledger),
    }),
    payments: { pay: (jwtId) => slot.parts.payments.pay(jwtId) },
    isCertainFailure: (error) => slot.parts.isCertainFailure(error),
  }
}

async function buildServer({ clock, replayStore, ledger }: Parts): Promise<FastifyInstance> {
  const read = readConfig({
    ISSUER: issuer,
    AUDIENCE: audience,
    PUBLIC_URL: audience,
    CLOCK_LEEWAY: String(leewaySeconds),
    SINGLE_USE_MAX_LIFETIME: String(maxLifetimeSeconds),
    LOG_LEVEL: 'silent',
  })
  if ('faults' in read) throw new Error(read.faults.join('; '))
  return buildApp(read.config, { clock, keySource, ledger, replayStore })
}

/** Another team's service: the plugins, and a handler that moves money where nothing is known of tokens. */
async function buildService({
  clock,
  claimClock,
  replayStore,
  payments,
  isCertainFailure,
}: Parts): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(problem, { publicUrl: audience, stepUp: { acrValues: [], maxAgeSeconds: undefined } })
  const scopeClaims = ['scope'] as const
  await app.register(accessToken, {
    issuer,
    audience,
    algorithms: ['RS256'],
    scopeClaims,
    issuerClaim: undefined,
    leewaySeconds,
    keySource,
    clock,
  })
  const userAuthentication = { acrValues: [], amr: [], claim: undefined, maxAgeSeconds: undefined }
  const singleUseMaxLifetimeSeconds = maxLifetimeSeconds
  await app.register(accessPolicy, { userAuthentication, leewaySeconds, singleUseMaxLifetimeSeconds, clock })
  await app.register(idempotency)
  await app.register(singleUse, { replayStore, clock: claimClock, leewaySeconds, behind: 'nothing' })
  app.post(
    '/transfers',
    { config: { access: { scope: 'transfer:funds', singleUse: true } } },
    async (request, reply) => {
      try {
        const transferId = await payments.pay(request.accessToken?.jwtId as string)
        return reply.code(201).send({ transferId })
      } catch (error) {
        // Only what certainly moved nothing: after an unknown outcome the token stays spent.
        if (isCertainFailure(error)) await app.giveBackToken(request)
        throw error
      }
    },
  )
  return app
}
