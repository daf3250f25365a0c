import { type AsymmetricKeyDetails, createPublicKey, hash, type JsonWebKey, type KeyObject } from 'node:crypto'

/** A JSON object that says it is a JWK. */
export type Jwk = Readonly<Record<string, unknown>>

/** Which kind of key each JWS algorithm is bound to (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2). */
const keyTypes: Readonly<Record<string, { kty: string; crv?: string }>> = {
  RS256: { kty: 'RSA' },
  RS384: { kty: 'RSA' },
  RS512: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  PS384: { kty: 'RSA' },
  PS512: { kty: 'RSA' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  ES512: { kty: 'EC', crv: 'P-521' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
}
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const leastModulusBits = 2048
const mostModulusBits = 8192
const leastExponent = 65_537n

/**
 * Whether a JWK says of itself that it may verify signatures of one algorithm: of its key type and curve, not of another `alg`, no
 * `use` or `key_ops` that exclude it (RFC 7517 §4.2, §4.3), and neither private nor symmetric. Does not look at the key.
 */
export function mayVerify(jwk: Jwk, alg: string): boolean {
  const bound = keyTypes[alg]
  if (bound === undefined || jwk['kty'] !== bound.kty || (bound.crv !== undefined && jwk['crv'] !== bound.crv))
    return false
  if (jwk['alg'] !== undefined && jwk['alg'] !== alg) return false
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return false
  if (jwk['key_ops'] !== undefined && !(Array.isArray(jwk['key_ops']) && jwk['key_ops'].includes('verify')))
    return false
  return !privateMembers.some((member) => Object.hasOwn(jwk, member))
}

/**
 * Turns a JWK into a public key for one algorithm, or returns undefined when it must not be used so: what `mayVerify` refuses, RSA
 * outside 2048 to 8192 bits or with an exponent below 65537 (FIPS 186-5 §5.1).
 */
export function importPublicKey(jwk: Jwk, alg: string): KeyObject | undefined {
  if (!mayVerify(jwk, alg)) return undefined
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails as AsymmetricKeyDetails
    if (jwk['kty'] === 'RSA') {
      if (modulusLength < leastModulusBits || modulusLength > mostModulusBits) return undefined
      if (publicExponent < leastExponent || publicExponent % 2n === 0n) return undefined
    }
    return key
  } catch {
    // node:crypto throws for coordinates off the curve or members that are no base64url: a key that cannot be used.
    return undefined
  }
}

/** The same as PEM text. */
export function importJwk(jwk: Jwk, alg: string): string | undefined {
  return importPublicKey(jwk, alg)?.export({ type: 'spki', format: 'pem' }).toString()
}

/** The SHA-256 thumbprint of an EC, OKP or RSA key (RFC 7638 §3, RFC 8037 §2), base64url. */
export function thumbprintOf({ crv, e, kty, n, x, y }: Jwk): string {
  // The members that a type has, in order of their names; JSON leaves out what is undefined.
  const members = kty === 'RSA' ? { e, kty, n } : kty === 'OKP' ? { crv, kty, x } : { crv, kty, x, y }
  return hash('sha256', JSON.stringify(members), 'base64url')
}
