import { createHmac } from 'node:crypto'

/** A nonce is accepted in the window it was made in and in the next. */
const windowMs = 120_000

/**
 * Nonces for DPoP proofs (RFC 9449 §8, §9), made of a secret and the time: nothing is stored, and whoever shares the secret agrees.
 * One nonce is current for two minutes, for every client, and accepted for two more. It shows that a proof was not
 * made long before; it does not make a proof single-use.
 */
export class DpopNonces {
  readonly #secret: Uint8Array

  /** @param secret at least 256 random bits */
  constructor(secret: Uint8Array) {
    this.#secret = secret
  }

  current(nowMs: number): string {
    return this.#make(Math.floor(nowMs / windowMs))
  }

  judge(nonce: string | undefined, nowMs: number): 'current' | 'previous' | 'unknown' {
    const window = Math.floor(nowMs / windowMs)
    if (nonce === this.#make(window)) return 'current'
    return nonce === this.#make(window - 1) ? 'previous' : 'unknown'
  }

  #make(window: number): string {
    return createHmac('sha256', this.#secret).update(`dpop-nonce ${window}`).digest('base64url')
  }
}
