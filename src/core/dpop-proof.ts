import { constants, hash, type KeyObject, verify } from 'node:crypto'
import { isCanonicalCompactJwt, isUtf8Jwt } from './compact-jwt.js'
import { normalizeAddress } from './http-address.js'
import { type Jwk, mayVerify, thumbprintOf } from './jwk-policy.js'

/** Algorithms that proofs may be signed with; clients send either name for Ed25519 (RFC 8037, RFC 9864). */
export const dpopAlgorithms = ['ES256', 'Ed25519', 'EdDSA', 'PS256'] as const
type DpopAlgorithm = (typeof dpopAlgorithms)[number]

/** A proof that is good in itself. Whether its key, its nonce and its jti will do is for the caller to decide. */
export interface DpopProof {
  /** SHA-256 thumbprint of its key (RFC 7638), base64url. */
  keyThumbprint: string
  jwtId: string
  issuedAtSeconds: number
  nonce: string | undefined
}

/** What a proof is held against. */
export interface ProofExpectations {
  method: string
  /** Where clients reach the resource: public origin and path; a query is ignored. */
  address: string
  /** The access token's text, which `ath` is the digest of. */
  accessToken: string
  nowMs: number
  /** Turns the proof's JWK, whose thumbprint it is told, into a key; undefined when it is none. The caller may remember keys. */
  importKey: (jwk: Jwk, alg: string, keyThumbprint: string) => KeyObject | undefined
}

/** How far `iat` may lie from now, in whole seconds, either way. */
export const proofLifetimeSeconds = 60
const maxJwtIdLength = 256

/**
 * Checks a DPoP proof (RFC 9449 §4.3), all but nonce, key and replay, which need more than the request. Returns undefined for a bad
 * one. Keeps nothing and has no clock of its own.
 *
 * @param fields values of all `DPoP` field lines of the request
 */
export function checkDpopProof(fields: readonly string[], expected: ProofExpectations): DpopProof | undefined {
  const [text, another] = fields
  if (text === undefined || another !== undefined || !isCanonicalCompactJwt(text) || !isUtf8Jwt(text)) return undefined
  const [header, payload, signature] = text.split('.') as [string, string, string]
  const claims = readClaims(decodeObject(payload), expected)
  const { alg, jwk } = readHeader(decodeObject(header)) ?? {}
  if (claims === undefined || alg === undefined || jwk === undefined) return undefined
  const keyThumbprint = thumbprintOf(jwk)
  const key = expected.importKey(jwk, alg, keyThumbprint)
  const signed = Buffer.from(text.slice(0, text.lastIndexOf('.')))
  if (key === undefined || !isSigned(signed, Buffer.from(signature, 'base64url'), { alg, key })) return undefined
  return { ...claims, keyThumbprint }
}

function readHeader(header: Jwk | undefined): { alg: DpopAlgorithm; jwk: Jwk } | undefined {
  if (header === undefined || header['typ'] !== 'dpop+jwt' || Object.hasOwn(header, 'crit')) return undefined
  const alg = dpopAlgorithms.find((name) => name === header['alg'])
  const jwk = header['jwk']
  if (alg === undefined || typeof jwk !== 'object' || jwk === null) return undefined
  return mayVerify(jwk as Jwk, alg) ? { alg, jwk: jwk as Jwk } : undefined
}

function readClaims(
  claims: Jwk | undefined,
  { method, address, accessToken, nowMs }: ProofExpectations,
): Omit<DpopProof, 'keyThumbprint'> | undefined {
  if (claims === undefined) return undefined
  const { jti, htm, htu, iat, ath, nonce, exp = Number.POSITIVE_INFINITY, nbf = Number.NEGATIVE_INFINITY } = claims
  if (typeof jti !== 'string' || jti.length === 0 || jti.length > maxJwtIdLength) return undefined
  if (htm !== method || !isSameAddress(htu, address)) return undefined
  const nowSeconds = Math.floor(nowMs / 1000)
  if (typeof iat !== 'number' || !(Math.abs(nowSeconds - iat) <= proofLifetimeSeconds)) return undefined
  // Not of a proof's own claims, but of any JWT's (RFC 7519 §4.1.4, §4.1.5).
  if (typeof exp !== 'number' || nowSeconds >= exp || typeof nbf !== 'number' || nowSeconds < nbf) return undefined
  if (ath !== hash('sha256', accessToken, 'base64url')) return undefined
  return { jwtId: jti, issuedAtSeconds: iat, nonce: typeof nonce === 'string' ? nonce : undefined }
}

function isSameAddress(htu: unknown, address: string): boolean {
  if (htu === address) return true
  const normalized = typeof htu === 'string' ? normalizeAddress(htu) : undefined
  return normalized !== undefined && normalized === normalizeAddress(address)
}

function isSigned(data: Buffer, signature: Buffer, { alg, key }: { alg: DpopAlgorithm; key: KeyObject }): boolean {
  if (alg === 'ES256') return verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature)
  if (alg !== 'PS256') return verify(null, data, key, signature)
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST
  return verify('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature)
}

function decodeObject(part: string): Jwk | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null ? (value as Jwk) : undefined
  } catch {
    return undefined
  }
}
