import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { readIdempotencyKey } from '../core/idempotency-key.js'
import { Refusal } from '../core/refusal.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The request's `Idempotency-Key`, or null. Read on routes whose token is single use. */
    idempotencyKey: string | null
  }
}

/** Reads `Idempotency-Key` before the token is consumed. What the key means is decided by the ledger, in its transaction. */
export default fp(
  async (app: FastifyInstance) => {
    app.decorateRequest('idempotencyKey', null)
    app.addHook('preHandler', (request, _reply, done) => {
      const { access } = request.routeOptions.config
      const field = request.headers['idempotency-key']
      if (typeof access !== 'object' || access.singleUse !== true || field === undefined) return done()
      const key = readIdempotencyKey(String(field))
      if (key === undefined) return done(new Refusal('invalid-idempotency-key'))
      request.idempotencyKey = key
      done()
    })
  },
  { name: 'idempotency', fastify: '5.x' },
)
