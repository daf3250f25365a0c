import { type AsymmetricKeyDetails, createPublicKey, type JsonWebKey } from 'node:crypto'

/** Which kind of key each JWS algorithm is bound to (RFC 7518 §3.1, RFC 8037 §3.1). */
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
}
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const leastModulusBits = 2048
const mostModulusBits = 8192
const leastExponent = 65_537n

/**
 * Turns a JWK into a PEM public key for one algorithm, or returns undefined when it must not be used so: another key type
 * or curve, another `alg`, a `use` or `key_ops` that excludes verifying (RFC 7517 §4.2, §4.3), a private or symmetric
 * key, RSA outside 2048 to 8192 bits or with an exponent below 65537 (FIPS 186-5 §5.1).
 */
export function importJwk(jwk: Readonly<Record<string, unknown>>, alg: string): string | undefined {
  const bound = keyTypes[alg]
  if (bound === undefined || jwk['kty'] !== bound.kty || (bound.crv !== undefined && jwk['crv'] !== bound.crv))
    return undefined
  if (jwk['alg'] !== undefined && jwk['alg'] !== alg) return undefined
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return undefined
  if (jwk['key_ops'] !== undefined && !(Array.isArray(jwk['key_ops']) && jwk['key_ops'].includes('verify')))
    return undefined
  if (privateMembers.some((member) => Object.hasOwn(jwk, member))) return undefined
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails as AsymmetricKeyDetails
    if (bound.kty === 'RSA') {
      if (modulusLength < leastModulusBits || modulusLength > mostModulusBits) return undefined
      if (publicExponent < leastExponent || publicExponent % 2n === 0n) return undefined
    }
    return key.export({ type: 'spki', format: 'pem' }).toString()
  } catch {
    // node:crypto throws for coordinates off the curve or members that are no base64url: a key that cannot be used.
    return undefined
  }
}
