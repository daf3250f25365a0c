import type { Clock } from './clock.js'
import {
  isUserAuthenticationSufficient,
  readUserAuthentication,
  type UserAuthenticationRequirement,
} from './user-authentication.js'

/** What a web app demands of the authentication that an ID Token tells of, and the time to hold it against. */
export interface IdTokenPolicy {
  /** One of acr, amr and the issuer's own claim is enough; `maxAgeSeconds` comes in addition. */
  requirement: UserAuthenticationRequirement
  /** How far `auth_time` may lie in the future, for clocks that differ. */
  leewaySeconds: number
  clock: Clock
}

/** The claims of an ID Token whose signature, `iss`, `aud`, `exp` and `nonce` were verified (OpenID Connect Core §3.1.3.7). */
export type IdTokenClaims = Readonly<Record<string, unknown>>

/**
 * Whether the ID Token shows that the person authenticated strongly and recently enough. False without an ID Token, and for
 * claims that are missing or odd. Does not verify the token, and does not look at `exp`: how long a session lasts is the app's
 * own decision. A requirement that names neither acr nor amr nor a claim is not met by anybody.
 */
export function isIdTokenSufficient(claims: IdTokenClaims | null | undefined, policy: IdTokenPolicy): boolean {
  const { requirement, leewaySeconds, clock } = policy
  if (claims === null || claims === undefined || !namesLevel(requirement)) return false
  const authentication = readUserAuthentication(claims, requirement.claim?.name)
  return isUserAuthenticationSufficient({ authentication }, requirement, { nowMs: clock.nowMs(), leewaySeconds })
}

/** Whether the requirement says how a person must have authenticated, and not only when. */
export function namesLevel({ acrValues, amr, claim }: UserAuthenticationRequirement): boolean {
  return acrValues.length > 0 || amr.length > 0 || claim !== undefined
}
