import { createHash, type JsonWebKey, randomUUID } from 'node:crypto'
import type { ManualClock } from './manual-clock.js'
import { publicUrl } from './test-api.js'
import { type Claims, makeKey, type SigningKey, signCompact } from './test-issuer.js'

/** A request that a proof is made for. */
export interface ProofRequest {
  method: string
  path: string
  token: string
}

/** A client's key and the proofs it makes; any header member or claim can be replaced, or left out with undefined. */
export class ProofMaker {
  readonly key: SigningKey
  /** The public key, with no member but those that make it. */
  readonly jwk: JsonWebKey
  readonly #clock: Pick<ManualClock, 'nowSeconds'>
  readonly #origin: string

  constructor(clock: Pick<ManualClock, 'nowSeconds'>, { alg = 'ES256', origin = publicUrl } = {}) {
    this.key = makeKey(alg)
    const { kid, alg: _alg, use, ...jwk } = this.key.jwk
    this.jwk = jwk
    this.#clock = clock
    this.#origin = origin
  }

  /** RFC 7638 §3. */
  get thumbprint(): string {
    const { crv, e, kty, n, x, y } = this.jwk
    const members = kty === 'RSA' ? { e, kty, n } : { crv, kty, x, y }
    return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
  }

  /** What a token that is bound to the key has among its claims. */
  get binding(): { cnf: { jkt: string } } {
    return { cnf: { jkt: this.thumbprint } }
  }

  claims({ method, path, token }: ProofRequest, changes: Claims = {}): Claims {
    return {
      jti: randomUUID(),
      htm: method,
      htu: `${this.#origin}${path}`,
      iat: this.#clock.nowSeconds,
      ath: createHash('sha256').update(token).digest('base64url'),
      ...changes,
    }
  }

  /** A signed proof of these claims. */
  sign(claims: object | string, header: Record<string, unknown> = {}, key = this.key): string {
    return signCompact({ typ: 'dpop+jwt', alg: key.alg, jwk: this.jwk, ...header }, claims, key)
  }

  prove(request: ProofRequest, changes: Claims = {}): string {
    return this.sign(this.claims(request, changes))
  }

  /** The header fields of a request with token and proof. */
  headers(request: ProofRequest, changes: Claims = {}): { authorization: string; dpop: string } {
    return { authorization: `DPoP ${request.token}`, dpop: this.prove(request, changes) }
  }
}
