import type buildGetJwks from 'get-jwks'
import type { JoseHeader } from '../core/compact-jwt.js'
import { importJwk, type Jwk } from '../core/jwk-policy.js'

type GetJwks = ReturnType<typeof buildGetJwks>
/** A key for one algorithm, without the members that do not matter for verifying. */
type BoundKey = Jwk & { kid: string; alg: string }

/** The issuer answers with a JWK Set in which the policy finds nothing to verify with. */
export class NoUsableKey extends Error {
  override readonly name = 'NoUsableKey'
}

/** Public key parameters of RSA, EC and OKP keys (RFC 7518 §6, RFC 8037 §2). */
const parameters = new Set(['kty', 'crv', 'x', 'y', 'n', 'e'])

/**
 * One loaded JWK Set (RFC 7517 §5). get-jwks picks the key, but reads the set from a `data:` URL made of the document that
 * was fetched within limits: on the network it would follow redirects, wait and read without end, and ask the issuer once
 * for every unknown kid. Each key is imported once per algorithm.
 */
export class KeySet {
  /** The text that tells one set from another. */
  readonly text: string
  /** Pairs of alg and kid, with a space between, that name several different keys. None of these is used. */
  readonly ambiguous: readonly string[]
  readonly #keyIds: ReadonlySet<string>
  readonly #getJwks: GetJwks
  readonly #pemByHeader = new Map<string, Promise<string | undefined>>()

  private constructor({ keys, ambiguous }: BoundKeys, getJwks: GetJwks, text: string) {
    this.text = text
    this.ambiguous = ambiguous
    this.#keyIds = new Set(keys.map(({ kid }) => kid))
    this.#getJwks = getJwks
  }

  /**
   * Throws `NoUsableKey` when the set holds no key that the policy lets verify with one of the algorithms, and another
   * error when the document is no JWK Set.
   */
  static async read(document: unknown, algorithms: readonly string[]): Promise<KeySet> {
    const keys = (document as { keys?: unknown } | null)?.keys
    if (!Array.isArray(keys)) throw new Error('the document is no JWK Set')
    const bound = bindToAlgorithms(keys, algorithms)
    if (bound.keys.length === 0) throw new NoUsableKey('the JWK Set holds no usable key')
    const text = JSON.stringify({ keys: bound.keys })
    // Loaded with the first keys, in the background, because it brings a curve library that delays the start.
    const { default: build } = await import('get-jwks')
    const getJwks = build({ jwksPath: `json;base64,${Buffer.from(text).toString('base64')}` })
    return new KeySet(bound, getJwks, text)
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

interface BoundKeys {
  keys: readonly BoundKey[]
  ambiguous: readonly string[]
}

/**
 * One entry for each algorithm that a key may verify, so that keys of different types may share a kid (RFC 7517 §4.5).
 * Different keys that share both are left out: which of them a token means would depend on their order.
 */
function bindToAlgorithms(jwks: readonly unknown[], algorithms: readonly string[]): BoundKeys {
  const keysByHeader = new Map<string, Map<string, BoundKey>>()
  for (const jwk of jwks.filter(hasKeyId)) {
    for (const alg of algorithms) {
      const pem = importJwk(jwk, alg)
      if (pem === undefined) continue
      const header = `${alg} ${jwk.kid}`
      const keyByPem = keysByHeader.get(header) ?? new Map<string, BoundKey>()
      keysByHeader.set(header, keyByPem.set(pem, { ...readParameters(jwk), kid: jwk.kid, alg }))
    }
  }
  const entries = [...keysByHeader]
  return {
    keys: entries.filter(([, { size }]) => size === 1).flatMap(([, keyByPem]) => [...keyByPem.values()]),
    ambiguous: entries.filter(([, { size }]) => size > 1).map(([header]) => header),
  }
}

function readParameters(jwk: Jwk): Jwk {
  return Object.fromEntries(
    Object.entries(jwk).filter(([name, value]) => parameters.has(name) && typeof value === 'string'),
  )
}

function hasKeyId(jwk: unknown): jwk is Jwk & { kid: string } {
  const kid = (jwk as Jwk | null)?.['kid']
  return typeof kid === 'string' && !/\p{Surrogate}/u.test(kid)
}
