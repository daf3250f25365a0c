import type { FastifyReply, FastifyRequest } from 'fastify'
import { assertIdTokenPolicy, type IdTokenClaims, type IdTokenPolicy, isIdTokenSufficient } from '../core/id-token.js'
import { toReturnPath } from '../core/return-path.js'

/** Somebody asked for a page that needs multi-factor authentication, and has not shown any, or not recently enough. */
export interface StepUpAttempt {
  /** Whether there was an ID Token at all. */
  isSignedIn: boolean
  /** Where the person will be sent back to; undefined when the request can not be repeated by a link. */
  returnPath: string | undefined
}

export interface RequireMultiFactorOptions extends IdTokenPolicy {
  /**
   * The claims of the ID Token that the app verified when the person signed in, from its session; undefined when nobody is
   * signed in. What it throws is the app's own error, and nobody gets in.
   */
  claims: (request: FastifyRequest) => IdTokenClaims | undefined | Promise<IdTokenClaims | undefined>
  /**
   * The app's own route that sends the person to the authorization server: a path without a query, as a browser asks for it, so
   * before `rewriteUrl`. `/login/mfa` when left out.
   */
  stepUpPath?: string
  /**
   * Told of each attempt before the person is sent away, so that the app can log it, and waited for. What it throws, or a
   * promise of it that is rejected, goes to the app's error handler, and nobody gets in.
   */
  onAttempt?: (attempt: StepUpAttempt, request: FastifyRequest) => void | Promise<void>
}

/** A request other than GET and HEAD came without multi-factor authentication. Has the `statusCode` 403, for the app's error handler. */
export class MultiFactorRequired extends Error {
  override readonly name = 'MultiFactorRequired'
  readonly statusCode = 403
  /** Where a page can offer the step-up. */
  readonly stepUpPath: string

  constructor(stepUpPath: string) {
    super('Multi-factor authentication is required')
    this.stepUpPath = stepUpPath
  }
}

/**
 * Makes a pre-handler for the pages of a web app that only people with multi-factor authentication may see: it looks at
 * the ID Token of the person's session, and sets `Cache-Control: no-store` in any case. Where the token does not suffice, GET and
 * HEAD are redirected (303) to `stepUpPath?return_to=<path and query, as the browser asked>`, and any other method is refused
 * with `MultiFactorRequired`, since a redirect would lose its body. `return_to` is left out when it would not be a path of this app.
 *
 * The route behind `stepUpPath` is the app's own, and has three things to do:
 * - check `return_to` again with `toReturnPath`, since anybody can write such a link;
 * - ask for a `max_age` that is a minute less than `maxAgeSeconds`, or what is new enough for the authorization server is too old on arrival;
 * - look at the new ID Token with `isIdTokenSufficient` before it sends anybody back: an authorization server may ignore what it
 *   was asked for (OpenID Connect Core §5.5.1.1: acr is voluntary), and the person would go in circles.
 *
 * Does not verify tokens, does not talk to the authorization server, and is no protection from cross-site requests. Throws a
 * TypeError that names the option when one is not as its type says, when the requirement names neither acr nor amr nor a
 * claim, or when `stepUpPath` is no plain path.
 */
export function requireMultiFactor(options: RequireMultiFactorOptions) {
  const { claims, stepUpPath = '/login/mfa', onAttempt, ...policy } = options
  assertIdTokenPolicy(policy)
  if (typeof claims !== 'function') throw new TypeError('claims: must be a function of the request')
  if (onAttempt !== undefined && typeof onAttempt !== 'function') {
    throw new TypeError('onAttempt: must be a function, or left out')
  }
  if (toReturnPath(stepUpPath) !== stepUpPath || stepUpPath.includes('?')) {
    throw new TypeError('stepUpPath: must be a path without a query')
  }

  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    reply.header('cache-control', 'no-store')
    const idToken = await claims(request)
    if (isIdTokenSufficient(idToken, policy)) return undefined
    const isRepeatable = request.method === 'GET' || request.method === 'HEAD'
    const returnPath = isRepeatable ? toReturnPath(request.originalUrl) : undefined
    await onAttempt?.({ isSignedIn: idToken !== undefined && idToken !== null, returnPath }, request)
    if (!isRepeatable) throw new MultiFactorRequired(stepUpPath)
    const query = returnPath === undefined ? '' : `?return_to=${encodeURIComponent(returnPath)}`
    return reply.redirect(stepUpPath + query, 303)
  }
}
