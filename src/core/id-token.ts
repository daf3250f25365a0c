import type { Clock } from './clock.js'
import {
  assertRequirement,
  isCount,
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
 * own decision. Throws a TypeError that names the option for a policy that is not as its types say, or whose requirement names
 * neither acr nor amr nor a claim, since everybody would meet it.
 */
export function isIdTokenSufficient(claims: IdTokenClaims | null | undefined, policy: IdTokenPolicy): boolean {
  assertIdTokenPolicy(policy)
  const { requirement, leewaySeconds, clock } = policy
  if (claims === null || claims === undefined) return false
  const authentication = readUserAuthentication(claims, requirement.claim?.name)
  return isUserAuthenticationSufficient({ authentication }, requirement, { nowMs: clock.nowMs(), leewaySeconds })
}

/** Throws a TypeError that names the option at fault and says what it must be. */
export function assertIdTokenPolicy({ requirement, leewaySeconds, clock }: IdTokenPolicy): void {
  assertRequirement(requirement, 'requirement')
  const { acrValues, amr, claim } = requirement
  if (acrValues.length === 0 && amr.length === 0 && claim === undefined) {
    throw new TypeError('requirement: must name acr values, amr values or a claim')
  }
  if (!isCount(leewaySeconds)) throw new TypeError('leewaySeconds: must be whole seconds, such as 5')
  if (typeof clock?.nowMs !== 'function') throw new TypeError('clock: must have nowMs(), as systemClock has')
}
