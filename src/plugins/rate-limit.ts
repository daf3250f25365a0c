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
    const none = {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false,
      'retry-after': false,
    }
    await app.register(rateLimit, {
      hook: 'onRequest',
      max: requestsPerMinute,
      timeWindow: 60_000,
      allowList: ({ accessToken }) => accessToken === null,
      keyGenerator: ({ accessToken }) => JSON.stringify([accessToken?.issuer, accessToken?.subject]),
      addHeaders: none,
      addHeadersOnExceeding: none,
      errorResponseBuilder: (_request, { ttl }) =>
        new Refusal('too-many-requests', { retryAfterSeconds: Math.max(1, Math.ceil(ttl / 1000)) }),
    })
  },
  { name: 'rate-limit', fastify: '5.x', dependencies: ['access-token'] },
)
