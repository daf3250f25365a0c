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
/** The same algorithm by the name that says the curve as well (RFC 9864 §2.2). */
const fullySpecified: Readonly<Record<string, string>> = { EdDSA: 'Ed25519' }
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const leastModulusBits = 2048
const mostModulusBits = 8192
const leastExponent = 2n ** 16n + 1n
const mostExponent = 2n ** 256n - 1n
/** Points of small order on Ed25519, without the sign bit: under such a key anybody can sign some or all messages. */
const smallOrderPoints = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

/**
 * Whether a JWK says of itself that it may verify signatures of one algorithm: of its key type and curve, not of another `alg`
 * (`Ed25519` is EdDSA on that curve, RFC 9864 §2.2), no
 * `use` or `key_ops` that exclude it (RFC 7517 §4.2, §4.3), and neither private nor symmetric. Does not look at the key.
 */
export function mayVerify(jwk: Jwk, alg: string): boolean {
  const bound = keyTypes[alg]
  if (bound === undefined || jwk['kty'] !== bound.kty || (bound.crv !== undefined && jwk['crv'] !== bound.crv))
    return false
  if (jwk['alg'] !== undefined && jwk['alg'] !== alg && jwk['alg'] !== fullySpecified[alg]) return false
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return false
  if (jwk['key_ops'] !== undefined && !(Array.isArray(jwk['key_ops']) && jwk['key_ops'].includes('verify')))
    return false
  return !privateMembers.some((member) => Object.hasOwn(jwk, member))
}

/**
 * Turns a JWK into a public key for one algorithm, or returns undefined when it must not be used so: what `mayVerify` refuses, RSA
 * outside 2048 to 8192 bits or with an exponent outside FIPS 186-5 §5.1, an Ed25519 point of small order. Does not look at
 * kid, x5c or any address in the key.
 */
export function importPublicKey(jwk: Jwk, alg: string): KeyObject | undefined {
  if (!mayVerify(jwk, alg)) return undefined
  const key = createKey(jwk)
  return key !== undefined && isStrong(key) ? key : undefined
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

function createKey(jwk: JsonWebKey): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    // node:crypto throws for coordinates off the curve or members that are no base64url: a key that cannot be used.
    return undefined
  }
}

function isStrong(key: KeyObject): boolean {
  if (key.asymmetricKeyType === 'ed25519') {
    const point = Buffer.from(key.export({ format: 'jwk' }).x as string, 'base64url')
    point[31] = (point[31] as number) & 0x7f
    return !smallOrderPoints.has(point.toString('hex'))
  }
  if (key.asymmetricKeyType !== 'rsa') return true
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails as AsymmetricKeyDetails
  return (
    modulusLength >= leastModulusBits &&
    modulusLength <= mostModulusBits &&
    publicExponent >= leastExponent &&
    publicExponent <= mostExponent &&
    publicExponent % 2n === 1n
  )
}
