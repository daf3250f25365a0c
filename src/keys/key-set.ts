import type buildGetJwks from 'get-jwks'
import type { JoseHeader } from '../core/compact-jwt.js'
import { importJwk, type Jwk } from '../core/jwk-policy.js'

type GetJwks = ReturnType<typeof buildGetJwks>

/**
 * One loaded JWK Set (RFC 7517 §5). get-jwks picks the key, but reads the set from a `data:` URL made of the document that
 * was fetched within limits: on the network it would follow redirects, wait and read without end, and ask the issuer once
 * for every unknown kid. Each key is imported once per algorithm.
 */
export class KeySet {
  /** The text that tells one set from another. */
  readonly text: string
  readonly #keyIds: ReadonlySet<string>
  readonly #getJwks: GetJwks
  readonly #pemByHeader = new Map<string, Promise<string | undefined>>()

  private constructor(text: string, keyIds: ReadonlySet<string>, getJwks: GetJwks) {
    this.text = text
    this.#keyIds = keyIds
    this.#getJwks = getJwks
  }

  /** Throws when the document is no JWK Set or holds no key that the policy lets verify with one of the algorithms. */
  static async read(document: unknown, algorithms: readonly string[]): Promise<KeySet> {
    const keys = (document as { keys?: unknown } | null)?.keys
    const usable = Array.isArray(keys) ? keys.flatMap((key) => bindToAlgorithms(key, algorithms)) : []
    if (usable.length === 0) throw new Error('the JWK Set holds no usable key')
    const text = JSON.stringify({ keys: usable })
    // Loaded with the first keys, in the background, because it brings a curve library that delays the start.
    const { default: build } = await import('get-jwks')
    const getJwks = build({ jwksPath: `json;base64,${Buffer.from(text).toString('base64')}` })
    return new KeySet(text, new Set(usable.map((key) => key.kid)), getJwks)
  }

  has(keyId: string): boolean {
    return this.#keyIds.has(keyId)
  }

  /** The PEM public key for a token's header, or undefined when the set has none that fits both kid and alg. */
  publicKey({ alg, kid }: JoseHeader): Promise<string | undefined> {
    const header = `${alg} ${kid}`
    let pem = this.#pemByHeader.get(header)
    if (pem === undefined) {
      pem = this.#getJwks.getJwk({ domain: 'data:application', alg, kid }).then(
        (jwk) => importJwk(jwk as Jwk, alg),
        () => undefined,
      )
      this.#pemByHeader.set(header, pem)
    }
    return pem
  }
}

/** One entry for each algorithm that the key may verify, so that keys of different types may share a kid (RFC 7517 §4.5). */
function bindToAlgorithms(key: unknown, algorithms: readonly string[]): (Jwk & { kid: string; alg: string })[] {
  if (typeof key !== 'object' || key === null) return []
  const jwk = key as Jwk
  const kid = jwk['kid']
  if (typeof kid !== 'string' || /\p{Surrogate}/u.test(kid)) return []
  return algorithms.filter((alg) => importJwk(jwk, alg) !== undefined).map((alg) => ({ ...jwk, kid, alg }))
}
