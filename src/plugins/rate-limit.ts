import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Refusal } from '../core/refusal.js'

/**
 * Limits requests a minute per authenticated subject, refused ones included; 0 switches it off. Registered after the token
 * is verified and before anything is decided. Counts in this process alone and does not limit callers who did not authenticate: that is a proxy's job.
 */
export default fp(
  async (app: FastifyInstance, { requestsPerMinute }: { requestsPerMinute: number }) => {
    if (requestsPerMinute === 0) return
    const { default: rateLimit } = await import('@fastify/rate-limit')
    await app.register(rateLimit, { global: false })
    const count = app.createRateLimit({
      max: requestsPerMinute,
      timeWindow: 60_000,
      keyGenerator: ({ accessToken }) => JSON.stringify([accessToken?.issuer, accessToken?.subject]),
    })
    app.addHook('onRequest', async (request) => {
      if (request.accessToken === null) return
      const limit = await count(request)
      if (limit.isAllowed || !limit.isExceeded) return
      throw new Refusal('too-many-requests', { retryAfterSeconds: Math.max(1, limit.ttlInSeconds) })
    })
  },
  { name: 'rate-limit', fastify: '5.x', dependencies: ['access-token'] },
)
