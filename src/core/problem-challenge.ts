import type { RouteAccess } from './access-policy.js'
import type { Challenge } from './challenge.js'
import type { TokenScheme } from './credentials.js'
import { dpopAlgorithms } from './dpop-proof.js'
import type { Problem } from './problems.js'

/** What challenges are made from besides the problem, the route and the caller. */
export interface ChallengeContext {
  /** Origin that clients use; metadata and problem addresses are made from it, never from the Host header. */
  publicUrl: string
  /** What a step-up challenge asks for besides the scope; left out when empty or undefined. */
  stepUp: { acrValues: readonly string[]; maxAgeSeconds: number | undefined }
  /** Whether DPoP is offered beside Bearer or instead of it; not at all when left out. */
  dpop?: 'off' | 'accept' | 'require'
}

/** Who is challenged, and where. */
export interface ChallengedRequest {
  access: RouteAccess | undefined
  /** The scheme of the caller's credentials, if they were of ours. */
  scheme?: TokenScheme | null
}

/**
 * The challenges of a problem, Bearer before DPoP, one field line each: as much as the table's row asks for, on the line of the
 * caller's scheme. A 401 offers the other scheme as well (RFC 9449 §7.2), but for rows that only DPoP helps. Empty when the row
 * has none.
 */
export function buildChallenges(
  { challenge, dpopOnly, error, detail, status }: Problem,
  { access, scheme }: ChallengedRequest,
  { publicUrl, stepUp, dpop = 'off' }: ChallengeContext,
): Challenge[] {
  if (challenge === 'none') return []
  const asksForStepUp = challenge === 'step-up'
  const routeScope = challenge === 'bare' || typeof access !== 'object' ? undefined : access.scope
  const resourceMetadata = `${publicUrl}/.well-known/oauth-protected-resource`
  const parameters = {
    error,
    scope: routeScope,
    acrValues: asksForStepUp && stepUp.acrValues.length > 0 ? stepUp.acrValues.join(' ') : undefined,
    maxAgeSeconds: asksForStepUp ? stepUp.maxAgeSeconds : undefined,
    resourceMetadata,
    errorDescription: error === undefined ? undefined : detail,
  }
  const bearer = { scheme: 'Bearer' as const, realm: 'stepgate' }
  const proof = { scheme: 'DPoP' as const, algorithms: dpopAlgorithms.join(' ') }
  const isUnauthorized = status === 401
  const onlyDpop = dpopOnly === true || (isUnauthorized && dpop === 'require')
  if (onlyDpop || scheme === 'DPoP') {
    const own = { ...proof, ...parameters }
    return onlyDpop || !isUnauthorized ? [own] : [{ ...bearer, scope: routeScope, resourceMetadata }, own]
  }
  const own = { ...bearer, ...parameters }
  return isUnauthorized && dpop === 'accept' ? [own, { ...proof, resourceMetadata }] : [own]
}

/** The one of a refusal's challenges that says what went wrong. */
export function mainChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  return challenges.find(({ error }) => error !== undefined) ?? challenges[0]
}
