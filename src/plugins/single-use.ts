import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AccessToken } from '../core/access-token.js'
import type { Clock } from '../core/clock.js'
import { Refusal } from '../core/refusal.js'
import { type Claim, type ReplayStore, replayKey } from '../replay/replay-store.js'

export interface SingleUseOptions {
  /** One store, or several as `ReplayRings`. */
  replayStore: ReplayStore
  clock: Clock
  leewaySeconds: number
  /**
   * What stands behind the replay store. `ledger`: the handler's own transaction consumes the token for good. So the store may
   * forget or be out of reach, and with an Idempotency-Key its "replayed" is a hint that the handler checks. `nothing`: the
   * store is the last ring. It must refuse when full, a request whose claim is not certain is refused, and where the store's
   * memory ends with the process, so are tokens that may have been issued before it started.
   */
  behind: 'ledger' | 'nothing'
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What this request claimed, or may have claimed, in the replay store and has not given back; null when nothing. */
    tokenClaim: Claim | null
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
    const isLastRing = behind === 'nothing'
    if (isLastRing && replayStore.retention === 'forgets')
      throw new Error('a store that forgets cannot be the last ring')
    // An issuer's clock may be ahead by the leeway: what it issued before the start can say so much later.
    const earliestIssueSeconds =
      isLastRing && replayStore.retention === 'process'
        ? Math.ceil(clock.nowMs() / 1000) + leewaySeconds
        : Number.NEGATIVE_INFINITY
    app.decorateRequest('tokenClaim', null)

    app.addHook('preHandler', (request, _reply, done) => {
      const { access } = request.routeOptions.config
      const { accessToken } = request
      if (typeof access !== 'object' || access.singleUse !== true || accessToken === null) return done()
      return consume(request, accessToken)
    })

    async function consume(request: FastifyRequest, accessToken: AccessToken): Promise<void> {
      if (accessToken.issuedAtSeconds < earliestIssueSeconds) throw new Refusal('not-single-use')
      const { issuer, jwtId, expiresAtSeconds } = accessToken
      // The body may have taken its time: a claim that begins after expiry would outlive the one that used the token.
      const acceptedUntilMs = (expiresAtSeconds + leewaySeconds) * 1000
      if (clock.nowMs() >= acceptedUntilMs) throw new Refusal('expired-token')
      const claim = {
        // The access policy has refused single-use tokens without jti.
        key: replayKey(issuer, jwtId as string),
        id: randomUUID(),
        expiresAtMs: acceptedUntilMs + marginMs,
      }
      const outcome = await replayStore.consume(claim)
      if (outcome === 'replayed') {
        const isOnlyHint = !isLastRing && request.idempotencyKey !== null
        if (!isOnlyHint) throw new Refusal('token-already-used')
        return
      }
      if (outcome !== 'full') request.tokenClaim = claim
      if (outcome !== 'consumed' && isLastRing) {
        await app.giveBackToken(request)
        throw new Refusal('replay-store-unavailable')
      }
    }

    app.decorate('giveBackToken', async (request) => {
      const claim = request.tokenClaim
      if (claim === null) return
      request.tokenClaim = null
      await replayStore.release(claim)
    })
  },
  { name: 'single-use', fastify: '5.x', dependencies: ['access-policy', 'idempotency'] },
)
