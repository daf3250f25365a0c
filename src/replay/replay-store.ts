/**
 * Remembers which single-use tokens were used. A store is atomic: of any number of parallel `consume` calls for one key,
 * exactly one is answered `consumed`.
 */
export interface ReplayStore {
  /** Whether the store may forget live keys when full, and so must not be the last ring. */
  readonly forgets: boolean
  /**
   * Claims a key until a time. `full` means that the store could remember the key only by forgetting a live one; it then
   * remembers nothing new.
   *
   * @param expiresAtMs when the key may be forgotten: past every moment at which the token could still be accepted
   */
  consume(key: string, expiresAtMs: number): Promise<ReplayOutcome>
  /** Gives a key back after a failure that certainly did not use the token. Never after an unknown outcome. */
  release(key: string): Promise<void>
}

export type ReplayOutcome = 'consumed' | 'replayed' | 'full'

/** The key of a token: issuer and `jti`, joined by length so that ("a","bc") and ("ab","c") differ. Never the token's text. */
export function replayKey(issuer: string, jwtId: string): string {
  return `${issuer.length}:${issuer}${jwtId}`
}
