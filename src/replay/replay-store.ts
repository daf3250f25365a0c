/**
 * Remembers which single-use tokens, or DPoP proofs, were used. A store is atomic: of any number of parallel `consume` calls for one key,
 * at most one is answered `consumed`.
 */
export interface ReplayStore {
  /**
   * What its memory is worth. `forgets`: live keys go when it is full, so it must not be the last ring. `process`: every live
   * key stays for as long as the process does. `shared`: every live key outlives the process and is known to all replicas.
   */
  readonly retention: 'forgets' | 'process' | 'shared'
  /** Whether claims are made at the moment; for health checks. */
  readonly isReachable: boolean
  /** Claims a key. Does not throw. */
  consume(claim: Claim): Promise<ReplayOutcome>
  /**
   * Gives a claim back, and no other claim on its key, after a failure that certainly did not use the token. Never after an
   * unknown outcome. Does not throw: a claim that cannot be given back stays until it expires.
   */
  release(claim: Claim): Promise<void>
}

/** One attempt to use a token or proof. */
export interface Claim {
  /** Names the token or proof: see `replayKey` and `proofReplayKey`. */
  key: string
  /** Names the attempt, uniquely among all replicas. */
  id: string
  /** When the key may be forgotten: past every moment at which the token could still be accepted. */
  expiresAtMs: number
  /** Whose it is, where a store limits how much each may take. */
  holder?: string
}

export type ReplayOutcome =
  | 'consumed'
  | 'replayed'
  /** The store could remember the key only by forgetting a live one; it then remembers nothing new. */
  | 'full'
  /** No usable answer: the key may be claimed now or not, so it must not count as consumed where no ring stands behind. */
  | 'unreachable'

/** The key of a DPoP proof: the thumbprint of its key, and its `jti`. No token has the same, since that of a token begins with a digit. */
export function proofReplayKey(keyThumbprint: string, jwtId: string): string {
  return `dpop:${keyThumbprint}:${jwtId}`
}

/** The key of a token: issuer and `jti`, joined by length so that ("a","bc") and ("ab","c") differ. Never the token's text. */
export function replayKey(issuer: string, jwtId: string): string {
  return `${issuer.length}:${issuer}${jwtId}`
}
