import { isTokenType, type TokenProfileName } from './token-profile.js'

/** The JOSE header parameters that a verifier needs. */
export interface JoseHeader {
  alg: string
  kid: string
}

const compactPattern = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/
const maxTokenLength = 8192
const maxKeyIdLength = 256

/**
 * Whether the text is a compact JWS of three non-empty parts in canonical base64url: no padding, no impossible length,
 * no bits left over in the last character. Without this one token has many spellings (RFC 4648 §3.5). It does not look
 * at what the parts say.
 */
export function isCanonicalCompactJwt(token: string): boolean {
  if (token.length > maxTokenLength) return false
  const parts = compactPattern.exec(token)
  return parts !== null && [parts[1], parts[2], parts[3]].every((part) => isCanonicalBase64url(part as string))
}

function isCanonicalBase64url(part: string): boolean {
  switch (part.length % 4) {
    case 0:
      return true
    case 2:
      return 'AQgw'.includes(part.at(-1) as string)
    case 3:
      return 'AEIMQUYcgkosw048'.includes(part.at(-1) as string)
    default:
      return false
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Whether header and payload of a compact JWS are UTF-8 (RFC 7519 §7.2). JSON readers that repair broken text would make two names
 * one. It does not look at what they say, and takes the canonical base64url for granted.
 */
export function isUtf8Jwt(token: string): boolean {
  try {
    for (const part of token.split('.', 2)) utf8.decode(Buffer.from(part, 'base64url'))
    return true
  } catch {
    return false
  }
}

/**
 * Picks alg and kid out of a decoded JOSE header, or returns undefined when this server must not verify it: an
 * algorithm outside the list (RFC 8725 §3.1), a typ other than the profile's (RFC 9068 §4), no usable kid, or any `crit`
 * (RFC 7515 §4.1.11). Keys and key addresses inside the header (jwk, jku, x5u, x5c) are never looked at.
 */
export function readJoseHeader(
  header: unknown,
  algorithms: readonly string[],
  profile: TokenProfileName,
): JoseHeader | undefined {
  if (typeof header !== 'object' || header === null || Object.hasOwn(header, 'crit')) return undefined
  const { alg, kid, typ } = header as Record<string, unknown>
  if (!isTokenType(typ, profile)) return undefined
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return undefined
  if (typeof kid !== 'string' || kid.length === 0 || kid.length > maxKeyIdLength) return undefined
  return { alg, kid }
}
