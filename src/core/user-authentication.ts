/** What a token says about how its user authenticated, unchecked: `isUserAuthenticationSufficient` judges it. */
export interface UserAuthentication {
  acr: unknown
  amr: unknown
  authTime: unknown
  /** The issuer's own claim, where one is configured. */
  issuerClaim: unknown
}

/** What a step-up route demands of the user's authentication. An empty requirement leaves the decision to the scope alone. */
export interface UserAuthenticationRequirement {
  /** `acr` values, any of which is enough, in order of preference (RFC 9470 §3). */
  acrValues: readonly string[]
  /** `amr` values, any of which is enough (RFC 8176). */
  amr: readonly string[]
  /** An issuer's own claim and the value it must have, such as the `authentication_level=mfa` of a custom rule. */
  claim: { name: string; value: string } | undefined
  /** Seconds that may have passed since `auth_time`, in addition to the rest. */
  maxAgeSeconds: number | undefined
}

/** Takes the claims that tell how the user authenticated out of a verified token, as they are. A claim that is missing is undefined. */
export function readUserAuthentication(
  claims: Readonly<Record<string, unknown>>,
  issuerClaim: string | undefined,
): UserAuthentication {
  const read = (name: string): unknown => (Object.hasOwn(claims, name) ? claims[name] : undefined)
  return {
    acr: read('acr'),
    amr: read('amr'),
    authTime: read('auth_time'),
    issuerClaim: issuerClaim === undefined ? undefined : read(issuerClaim),
  }
}

/**
 * Whether the token shows that the user authenticated strongly and recently enough (RFC 9470 §5). One of acr, amr and
 * the issuer's claim is enough; `auth_time` is checked in addition. Odd values fail closed: a missing `auth_time`, a string,
 * milliseconds or a time in the future never counts as fresh. A strong acr alone authorises nothing: the scope is
 * decided before.
 */
export function isUserAuthenticationSufficient(
  { authentication }: { authentication: UserAuthentication },
  requirement: UserAuthenticationRequirement,
  time: { nowMs: number; leewaySeconds: number },
): boolean {
  const { acrValues, amr, claim, maxAgeSeconds } = requirement
  const anyLevel = acrValues.length === 0 && amr.length === 0 && claim === undefined
  const strong =
    anyLevel ||
    (typeof authentication.acr === 'string' && acrValues.includes(authentication.acr)) ||
    (isStringArray(authentication.amr) && authentication.amr.some((method) => amr.includes(method))) ||
    (claim !== undefined && authentication.issuerClaim === claim.value)
  return strong && (maxAgeSeconds === undefined || isFresh(authentication.authTime, maxAgeSeconds, time))
}

/**
 * Throws a TypeError that names the option and says what it must be, for callers without types: a string in place of an array would
 * be searched for parts of itself, and a value that was left out would equal a claim that is left out. Empty arrays are fine.
 */
export function assertRequirement(requirement: UserAuthenticationRequirement, optionName: string): void {
  const fail = (member: string, rule: string): never => {
    throw new TypeError(`${optionName}${member}: must be ${rule}`)
  }
  if (!isObject(requirement)) fail('', 'an object with acrValues, amr, claim and maxAgeSeconds')
  const { acrValues, amr, claim, maxAgeSeconds } = requirement
  if (!isTextArray(acrValues)) fail('.acrValues', 'an array of non-empty strings, or [] to leave it out')
  if (!isTextArray(amr)) fail('.amr', "an array of non-empty strings such as ['mfa'], or [] to leave it out")
  if (claim !== undefined && !(isObject(claim) && isText(claim.name) && isText(claim.value))) {
    fail('.claim', "undefined, or { name, value } with non-empty strings such as 'authentication_level' and 'mfa'")
  }
  if (maxAgeSeconds !== undefined && !isCount(maxAgeSeconds)) fail('.maxAgeSeconds', 'undefined, or whole seconds')
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isTextArray(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isText)
}

/** Whether the value is a whole number, not negative. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isStringArray(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((member) => typeof member === 'string')
}

function isFresh(authTime: unknown, maxAgeSeconds: number, time: { nowMs: number; leewaySeconds: number }): boolean {
  if (!Number.isSafeInteger(authTime)) return false
  const ageMs = time.nowMs - (authTime as number) * 1000
  return ageMs >= -time.leewaySeconds * 1000 && ageMs <= maxAgeSeconds * 1000
}
