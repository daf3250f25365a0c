import { type Confirmation, readConfirmation } from './confirmation.js'
import { readScopes, type ScopeClaim } from './scope.js'
import { type AuthorizationDetail, readAuthorizationDetails } from './transaction-binding.js'
import { readUserAuthentication, type UserAuthentication } from './user-authentication.js'

/** A verified and validated access token, reduced to what decisions need. It never holds the token's text. */
export interface AccessToken {
  issuer: string
  subject: string
  clientId: string
  /** `jti`; undefined only where the token has none. */
  jwtId: string | undefined
  issuedAtSeconds: number
  expiresAtSeconds: number
  scopes: ReadonlySet<string>
  /** Claims about how the user authenticated, unchecked: `isUserAuthenticationSufficient` reads them and fails closed. */
  authentication: UserAuthentication
  /** `authorization_details` (RFC 9396): the transaction that the token is bound to, to be decided by `isPaymentAuthorized`. */
  authorizationDetails: readonly AuthorizationDetail[] | undefined
  /** What the token is bound to; undefined for a bearer token. Whoever accepts the token has to see it proven. */
  confirmation: Confirmation | undefined
}

/** What a token's claims are held against. */
export interface TokenExpectations {
  issuer: string
  audience: string
  leewaySeconds: number
  scopeClaims: readonly ScopeClaim[]
  /** Name of the issuer's own authentication claim, if one is configured. */
  issuerClaim: string | undefined
}

const maxStringLength = 255
const maxJwtIdLength = 256

/**
 * Validates the claims of a JWT access token whose signature held (RFC 9068 §2.2 and §4): exact iss and aud, sub and
 * client_id as non-empty bounded strings, exp, iat and nbf as integers. `exp` refuses from the very second it names
 * (RFC 7519 §4.1.4), plus leeway. A `cnf` (RFC 7800) that is not known in full makes the token invalid. Does not see a binding proven,
 * does not decide scopes or step-up, and lets a missing `jti` pass for the access policy to judge.
 */
export function validateAccessToken(
  claims: Readonly<Record<string, unknown>>,
  expected: TokenExpectations,
  nowMs: number,
): AccessToken | 'invalid' | 'expired' {
  const read = (name: string): unknown => (Object.hasOwn(claims, name) ? claims[name] : undefined)
  const subject = read('sub')
  const clientId = read('client_id')
  const jwtId = read('jti')
  const expiresAtSeconds = read('exp')
  const issuedAtSeconds = read('iat')
  const notBeforeSeconds = read('nbf') ?? 0
  const scopes = readScopes(claims, expected.scopeClaims)
  const hasDetails = Object.hasOwn(claims, 'authorization_details')
  const authorizationDetails = hasDetails ? readAuthorizationDetails(claims['authorization_details']) : undefined
  const isBound = Object.hasOwn(claims, 'cnf')
  const confirmation = isBound ? readConfirmation(claims['cnf']) : undefined
  const latestStartMs = nowMs + expected.leewaySeconds * 1000
  if (
    read('iss') !== expected.issuer ||
    !namesAudience(read('aud'), expected.audience) ||
    !isBoundedString(subject, maxStringLength) ||
    !isBoundedString(clientId, maxStringLength) ||
    !(jwtId === undefined || isBoundedString(jwtId, maxJwtIdLength)) ||
    !isInteger(expiresAtSeconds) ||
    !isInteger(issuedAtSeconds) ||
    !isInteger(notBeforeSeconds) ||
    claims['nbf'] === null ||
    issuedAtSeconds * 1000 > latestStartMs ||
    notBeforeSeconds * 1000 > latestStartMs ||
    scopes === undefined ||
    (hasDetails && authorizationDetails === undefined) ||
    (isBound && confirmation === undefined)
  ) {
    return 'invalid'
  }
  if (nowMs >= (expiresAtSeconds + expected.leewaySeconds) * 1000) return 'expired'
  return {
    issuer: expected.issuer,
    subject,
    clientId,
    jwtId,
    issuedAtSeconds,
    expiresAtSeconds,
    scopes,
    authentication: readUserAuthentication(claims, expected.issuerClaim),
    authorizationDetails,
    confirmation,
  }
}

function namesAudience(value: unknown, audience: string): boolean {
  if (typeof value === 'string') return value === audience
  return Array.isArray(value) && value.every((member) => typeof member === 'string') && value.includes(audience)
}

/**
 * Lone surrogates and U+FFFD are refused: stores and decoders write broken text as the latter, and two subjects would become
 * one. So is NUL, which PostgreSQL cannot store.
 */
function isBoundedString(value: unknown, maxLength: number): value is string {
  return (
    typeof value === 'string' &&
    value.length > 0 &&
    value.length <= maxLength &&
    !/[\0\p{Surrogate}\uFFFD]/u.test(value)
  )
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
