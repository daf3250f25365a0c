import { createHash } from 'node:crypto'

/**
 * The shapes that access tokens come in. `rfc9068`: the standard's. `auth0`: what Auth0 issues unless told otherwise; Keycloak
 * and Microsoft Entra issue the same shape. `okta`: what a custom authorization server of Okta issues.
 */
export type TokenProfileName = 'rfc9068' | 'auth0' | 'okta'

interface TokenProfile {
  /** What `typ` is, in whatever case. */
  type: RegExp
  typeRequired: boolean
  /** The claim that names the client. */
  clientClaim: 'client_id' | 'azp' | 'cid'
  /** Whether a token without `jti` is named by a digest instead. */
  namedByDigest: boolean
}

const profiles: Readonly<Record<TokenProfileName, TokenProfile>> = {
  rfc9068: { type: /^(?:application\/)?at\+jwt$/i, typeRequired: true, clientClaim: 'client_id', namedByDigest: false },
  auth0: { type: /^JWT$/i, typeRequired: true, clientClaim: 'azp', namedByDigest: true },
  okta: { type: /^JWT$/i, typeRequired: false, clientClaim: 'cid', namedByDigest: false },
}

/** Whether the JOSE header parameter `typ` is the profile's (RFC 9068 §4, RFC 8725 §3.11). */
export function isTokenType(typ: unknown, profile: TokenProfileName): boolean {
  const { type, typeRequired } = profiles[profile]
  return typ === undefined ? !typeRequired : typeof typ === 'string' && type.test(typ)
}

/**
 * A token's claims in the words of RFC 9068: the client in `client_id`, whatever the profile calls it, and a `jti` for a profile
 * whose tokens may lack it: the digest of the signing input (RFC 7515 §5.1), which no other spelling of the signature changes.
 * Two tokens that the issuer made of the same claims within one second are then one. Does not validate anything.
 *
 * @param token the compact JWT that the claims stand in, already verified
 */
export function toStandardClaims(
  claims: Readonly<Record<string, unknown>>,
  profile: TokenProfileName,
  token: string,
): Readonly<Record<string, unknown>> {
  const { clientClaim, namedByDigest } = profiles[profile]
  if (clientClaim === 'client_id') return claims
  const standard = { ...claims, client_id: Object.hasOwn(claims, clientClaim) ? claims[clientClaim] : undefined }
  return namedByDigest && !Object.hasOwn(claims, 'jti') ? { ...standard, jti: digestSigningInput(token) } : standard
}

function digestSigningInput(token: string): string {
  return createHash('sha256')
    .update(token.slice(0, token.lastIndexOf('.')))
    .digest('base64url')
}
