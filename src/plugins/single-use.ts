import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Clock } from '../core/clock.js'
import { Refusal } from '../core/refusal.js'
import { type ReplayStore, replayKey } from '../replay/replay-store.js'

export interface SingleUseOptions {
  replayStore: ReplayStore
  clock: Clock
  leewaySeconds: number
  /**
   * What stands behind the replay store. `ledger`: the handler's own transaction consumes the token for good, so the store
   * may forget, and with an Idempotency-Key its "replayed" is a hint that the handler checks. `nothing`: the store is the
   * last ring; it must refuse when full, and tokens that may have been issued before this process started are refused.
   */
  behind: 'ledger' | 'nothing'
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether this request claimed its token in the replay store and has not given it back. */
    tokenClaimed: boolean
  }
  interface FastifyInstance {
    /** Gives the request's token back after a failure that certainly did not use it. Does nothing when it holds no claim. */
    giveBackToken(request: import('fastify').FastifyRequest): Promise<void>
  }
}

/** A margin beyond expiry and leeway, against clocks that step. */
const marginMs = 60_000

/**
 * Makes tokens single-use on routes whose policy says so: claims (iss, jti) in the replay store after every other check.
 * A claim outlives the token by leeway and margin, so no entry is born expired. Does not give a token back by itself.
 */
export default fp(
  async (app: FastifyInstance, { replayStore, clock, leewaySeconds, behind }: SingleUseOptions) => {
    if (behind === 'nothing' && replayStore.forgets) throw new Error('a store that forgets cannot be the last ring')
    // An issuer's clock may be ahead by the leeway: what it issued before the start can say so much later.
    const earliestIssueSeconds = Math.ceil(clock.nowMs() / 1000) + leewaySeconds
    app.decorateRequest('tokenClaimed', false)

    app.addHook('preHandler', async (request) => {
      const { access } = request.routeOptions.config
      const { accessToken } = request
      if (typeof access !== 'object' || access.singleUse !== true || accessToken === null) return
      if (behind === 'nothing' && accessToken.issuedAtSeconds < earliestIssueSeconds)
        throw new Refusal('not-single-use')
      const rememberUntilMs = (accessToken.expiresAtSeconds + leewaySeconds) * 1000 + marginMs
      const outcome = await replayStore.consume(keyOf(accessToken), rememberUntilMs)
      if (outcome === 'full') throw new Refusal('replay-store-unavailable')
      const onlyHint = behind === 'ledger' && request.idempotencyKey !== null
      if (outcome === 'replayed' && !onlyHint) throw new Refusal('token-already-used')
      request.tokenClaimed = outcome === 'consumed'
    })

    app.decorate('giveBackToken', async (request) => {
      if (!request.tokenClaimed || request.accessToken === null) return
      request.tokenClaimed = false
      await replayStore.release(keyOf(request.accessToken))
    })
  },
  { name: 'single-use', fastify: '5.x', dependencies: ['access-policy', 'idempotency'] },
)

function keyOf({ issuer, jwtId }: { issuer: string; jwtId: string | undefined }): string {
  return replayKey(issuer, jwtId as string)
}
