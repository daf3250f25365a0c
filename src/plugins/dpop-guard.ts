import { type KeyObject, randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { AccessToken } from '../core/access-token.js'
import type { Clock } from '../core/clock.js'
import { readFields } from '../core/credentials.js'
import { DpopNonces } from '../core/dpop-nonces.js'
import { checkDpopProof, type DpopProof, proofLifetimeSeconds } from '../core/dpop-proof.js'
import { pathOf } from '../core/http-address.js'
import { importPublicKey, type Jwk } from '../core/jwk-policy.js'
import { Refusal } from '../core/refusal.js'
import { proofReplayKey, type ReplayStore } from '../replay/replay-store.js'

export interface DpopOptions {
  /** `accept`: beside bearer tokens. `require`: bearer tokens are refused. */
  mode: 'accept' | 'require'
  /** Origin that clients use, and so what `htu` begins with; the Host header and forwarding headers are never looked at. */
  publicUrl: string
  /**
   * Remembers proofs: a store of its own that refuses when full, such as `ProofReplayStore`; with other replicas, `ReplayRings` with
   * `localStandsIn`.
   */
  replayStore: ReplayStore
  /**
   * Resolves to the secret behind nonces, 256 random bits that all replicas share; asked again as long as it rejects. Left out: no
   * nonces.
   */
  nonceSecret?: (() => Promise<Uint8Array>) | undefined
}

/** A request, where its answer goes, and its access token: verified, but not yet known to be the caller's. */
export interface RequestToProve {
  request: FastifyRequest
  reply: FastifyReply
  accessToken: AccessToken
  tokenText: string
}

/** A margin beyond the last moment at which a proof is accepted, against clocks that step or differ. */
const marginMs = 30_000
const maxKeys = 1000

/**
 * Makes the guard that has callers of the DPoP scheme prove that they hold the key of their access token (RFC 9449 §7.1):
 * by a proof that is good, made with that key, with a nonce if that is asked for, and not seen before. Throws `Refusal`. Remembers
 * no proof that it refuses.
 */
export function createDpopGuard({ publicUrl, replayStore, nonceSecret }: Omit<DpopOptions, 'mode'>, clock: Clock) {
  const keys = new LRUCache<string, KeyObject>({ max: maxKeys })
  let nonces: Promise<DpopNonces> | undefined

  return async ({ request, reply, accessToken, tokenText }: RequestToProve): Promise<void> => {
    const keyThumbprint = accessToken.confirmation?.keyThumbprint
    if (keyThumbprint === undefined) throw new Refusal('dpop-key-mismatch')
    const proof = checkDpopProof(readFields(request.raw.rawHeaders, 'dpop'), {
      method: request.method,
      address: publicUrl + pathOf(request.url),
      accessToken: tokenText,
      nowMs: clock.nowMs(),
      importKey,
    })
    if (proof === undefined) throw new Refusal('invalid-dpop-proof')
    if (proof.keyThumbprint !== keyThumbprint) throw new Refusal('dpop-key-mismatch')
    if (nonceSecret !== undefined) await expectNonce(proof, reply, nonceSecret)
    await expectUnused(proof)
  }

  /** Parsing a key costs about as much as a signature, so keys are kept. What the JWK says beside the key is checked every time. */
  function importKey(jwk: Jwk, alg: string, keyThumbprint: string): KeyObject | undefined {
    const key = keys.get(keyThumbprint) ?? importPublicKey(jwk, alg)
    if (key !== undefined) keys.set(keyThumbprint, key)
    return key
  }

  async function expectNonce(
    { nonce }: DpopProof,
    reply: FastifyReply,
    secret: NonNullable<typeof nonceSecret>,
  ): Promise<void> {
    nonces ??= secret().then((bytes) => new DpopNonces(bytes))
    const known = await nonces.catch((error: unknown) => {
      nonces = undefined
      throw error
    })
    const nowMs = clock.nowMs()
    const age = known.judge(nonce, nowMs)
    if (age !== 'current') reply.header('dpop-nonce', known.current(nowMs))
    if (age === 'unknown') throw new Refusal('use-dpop-nonce')
  }

  async function expectUnused({ keyThumbprint, jwtId, issuedAtSeconds }: DpopProof): Promise<void> {
    const outcome = await replayStore.consume({
      key: proofReplayKey(keyThumbprint, jwtId),
      id: randomUUID(),
      // Its last second is accepted whole.
      expiresAtMs: Math.ceil(issuedAtSeconds + proofLifetimeSeconds + 1) * 1000 + marginMs,
      holder: keyThumbprint,
    })
    if (outcome === 'replayed') throw new Refusal('invalid-dpop-proof')
    if (outcome !== 'consumed') throw new Refusal('replay-store-unavailable')
  }
}
