import type { AccessToken } from './access-token.js'
import type { Clock } from './clock.js'
import type { ProblemName } from './problems.js'
import type { TransactionBinding } from './transaction-binding.js'
import { isUserAuthenticationSufficient, type UserAuthenticationRequirement } from './user-authentication.js'

/** What a route asks of its caller; declared on the route as `config.access` and nowhere else. */
export type RouteAccess = 'public' | AccessPolicy

/** The policy of a protected route. */
export interface AccessPolicy {
  /** The scope that the access token must hold. */
  scope: string
  /** The scope is high-value: a token without it gets the step-up challenge, one with it must show strong, fresh authentication. */
  stepUp?: boolean
  /** The access token works once. */
  singleUse?: boolean
  /**
   * What the request wants, so that a token can be bound to it (RFC 9396): the body, once validated, is a `Payment`. Where it is
   * left out, a step-up route refuses every token that is bound.
   */
  transaction?: 'payment_initiation'
}

/** What the decision needs besides policy and token. */
export interface AccessRules {
  userAuthentication: UserAuthenticationRequirement
  leewaySeconds: number
  /** The longest time from iat to exp that a single-use token may live. */
  singleUseMaxLifetimeSeconds: number
  /** Undefined: transactions are not checked, so a step-up route refuses every token that is bound to one. */
  transactionBinding?: TransactionBinding | undefined
  clock: Clock
}

/**
 * Decides whether the token may call the route, in the order scope, lifetime and jti, user authentication. Returns
 * undefined when it may, else the name of the problem to refuse it with. Does not consume anything.
 */
export function decideAccess(policy: AccessPolicy, token: AccessToken, rules: AccessRules): ProblemName | undefined {
  if (token.jwtId === undefined && policy.singleUse !== true) return 'invalid-token'
  if (!token.scopes.has(policy.scope)) return policy.stepUp === true ? 'step-up-required' : 'insufficient-scope'
  if (policy.singleUse === true) {
    const lifetimeSeconds = token.expiresAtSeconds - token.issuedAtSeconds
    if (token.jwtId === undefined || lifetimeSeconds > rules.singleUseMaxLifetimeSeconds) return 'not-single-use'
  }
  if (policy.stepUp !== true) return undefined
  const sufficient = isUserAuthenticationSufficient(token, rules.userAuthentication, {
    nowMs: rules.clock.nowMs(),
    leewaySeconds: rules.leewaySeconds,
  })
  return sufficient ? undefined : 'insufficient-user-authentication'
}
