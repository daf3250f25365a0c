import type { RouteAccess } from './access-policy.js'
import type { Challenge } from './challenge.js'
import type { Problem } from './problems.js'

/** What challenges are made from besides the problem and the route. */
export interface ChallengeContext {
  /** Origin that clients use; metadata and problem addresses are made from it, never from the Host header. */
  publicUrl: string
  /** What a step-up challenge asks for besides the scope; left out when empty or undefined. */
  stepUp: { acrValues: readonly string[]; maxAgeSeconds: number | undefined }
}

/** The challenge of a problem at a route: as much as the table's row asks for. Undefined when the row has none. */
export function buildChallenge(
  { challenge, error, detail }: Problem,
  access: RouteAccess | undefined,
  { publicUrl, stepUp }: ChallengeContext,
): Challenge | undefined {
  if (challenge === 'none') return undefined
  const asksForStepUp = challenge === 'step-up'
  return {
    realm: 'stepgate',
    error,
    scope: challenge === 'bare' || typeof access !== 'object' ? undefined : access.scope,
    acrValues: asksForStepUp && stepUp.acrValues.length > 0 ? stepUp.acrValues.join(' ') : undefined,
    maxAgeSeconds: asksForStepUp ? stepUp.maxAgeSeconds : undefined,
    resourceMetadata: `${publicUrl}/.well-known/oauth-protected-resource`,
    errorDescription: error === undefined ? undefined : detail,
  }
}
