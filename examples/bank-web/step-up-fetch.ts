import {
  customFetch,
  type DPoPHandle,
  type ProtectedResourceRequestOptions,
  protectedResourceRequest,
  WWWAuthenticateChallengeError,
  type WWWAuthenticateChallengeParameters,
} from 'oauth4webapi'

/**
 * `fetch` for an API that asks for step-up. Copy this file: it knows OAuth and nothing of this bank.
 *
 * It attaches the access token with a DPoP proof (RFC 9449), repeats a request whose proof was not taken where that is
 * safe, and turns the challenges of RFC 6750 and RFC 9470 into errors that hold exactly what to ask the authorization
 * server for. It does not redirect, store or renew anything: when to leave the page, and what to keep until then, only
 * the page can know.
 *
 * A browser repeats a request by itself, proof and all, when its connection breaks, and shows the second answer alone. So
 * a refusal of the proof, or of the token that comes before it, need not be of the copy that counts: see `onDoubt` and
 * TokenRefused.
 */
export async function stepUpFetch(
  grant: Grant,
  { url, method = 'GET', headers, body = null, needs, onDoubt }: ApiRequest,
  options: ProtectedResourceRequestOptions = {},
): Promise<Response> {
  // The app knows which scopes it holds, so it need not ask the API what the API would say.
  if (needs !== undefined && !holdsScope(grant, needs.scope)) throw new StepUpRequired(needs)
  const isHarmlessTwice = safeMethods.includes(method) || headers?.has('idempotency-key') === true
  const send = options[customFetch] ?? fetch
  let hadNonce = false
  const sendOptions: ProtectedResourceRequestOptions = {
    ...options,
    DPoP: grant.dpop,
    [customFetch]: (address, init) => {
      hadNonce = holdsNonce(init.headers['dpop'])
      return send(address, init as RequestInit & typeof init)
    },
  }
  const met = new Set<string>()
  for (;;) {
    try {
      return await protectedResourceRequest(grant.accessToken, method, url, headers, body, sendOptions)
    } catch (error) {
      if (!(error instanceof WWWAuthenticateChallengeError)) throw error
      const { error: code = '' } = parametersOf(error)
      const lacksNonce = code === 'use_dpop_nonce' && !hadNonce
      const mayBeCopy = proofRefusals.includes(code) && !lacksNonce
      if (mayBeCopy) onDoubt?.()
      const mayBeRepeated = lacksNonce || (mayBeCopy && isHarmlessTwice)
      if (met.has(code) || !mayBeRepeated) throw await readChallenge(error, grant)
      met.add(code)
    }
  }
}

/** RFC 9110 §9.2.1 */
const safeMethods: readonly string[] = ['GET', 'HEAD']
/** RFC 9449 §7.1, §9 */
const proofRefusals: readonly string[] = ['use_dpop_nonce', 'invalid_dpop_proof']

/**
 * Whether a proof holds a nonce; the claims of a JWT are its second part. An API that wants nonces has done nothing for a
 * proof without one (RFC 9449 §8, §9), however often that was sent. One with a nonce may have been taken before the nonce
 * was too old, or the proof was known.
 */
function holdsNonce(proof = ''): boolean {
  const [, claims = ''] = proof.split('.')
  return 'nonce' in JSON.parse(atob(claims.replaceAll('-', '+').replaceAll('_', '/')))
}

/** An access token, with what its response said and the key that it is bound to. Keep it in memory and nowhere else. */
export interface Grant {
  readonly accessToken: string
  /** The scopes that were granted, separated by spaces: those of the token response, else those that were asked for. */
  readonly scope: string
  readonly dpop: DPoPHandle
}

/** A request. One with an `Idempotency-Key` may be sent twice; see `stepUpFetch`. */
export interface ApiRequest {
  readonly url: URL
  readonly method?: string
  readonly headers?: Headers
  readonly body?: string | null
  /** What it is known to need: without that scope it is not sent, and StepUpRequired is thrown at once. */
  readonly needs?: StepUpParameters & { readonly scope: string }
  /** Called when a copy of the request may have been acted on, though the answer does not say so. */
  readonly onDoubt?: () => void
}

/** Parameters of an authorization request, by their names: pass them on unchanged. */
export interface StepUpParameters {
  readonly scope?: string
  /** RFC 9470 §4 */
  readonly acr_values?: string
  readonly max_age?: string
  /** JSON (RFC 9396): the one transaction that the API would accept a token for. */
  readonly authorization_details?: string
}

/** More is needed than this token stands for: send the user to the authorization server with `parameters`, then repeat. */
export class StepUpRequired extends Error {
  override readonly name = 'StepUpRequired'
  readonly parameters: StepUpParameters

  constructor(parameters: StepUpParameters) {
    super('the user has to authenticate again')
    this.parameters = parameters
  }
}

/**
 * The token is not taken, or no longer: expired, used before, unknown. A new one has to be asked for with `parameters`. It
 * does not say that nothing was done: a copy that the browser sent before may have come while the token was good.
 */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused'
  readonly parameters: StepUpParameters
  /** The `type` of the problem document (RFC 9457), which says why; undefined when there is none. */
  readonly problemType: string | undefined

  constructor(parameters: StepUpParameters, problemType: string | undefined) {
    super('the access token was refused')
    this.parameters = parameters
    this.problemType = problemType
  }
}

/** Whether a grant has all of these scopes, by what the token response said. */
export function holdsScope({ scope }: Grant, needed: string): boolean {
  const held = scope.split(' ')
  return needed.split(' ').every((name) => held.includes(name))
}

async function readChallenge(
  error: WWWAuthenticateChallengeError,
  grant: Grant,
): Promise<StepUpRequired | TokenRefused> {
  // A challenge that names no scope wants another authentication for the scopes at hand (RFC 9470 §3).
  const { error: code, scope = grant.scope, acr_values, max_age } = parametersOf(error)
  const problem = await readProblem(error.response)
  const parameters = {
    scope,
    ...(acr_values !== undefined && { acr_values }),
    ...(max_age !== undefined && { max_age }),
    ...(problem.authorizationDetails !== undefined && { authorization_details: problem.authorizationDetails }),
  }
  const asksForStepUp = code === 'insufficient_scope' || code === 'insufficient_user_authentication'
  return asksForStepUp ? new StepUpRequired(parameters) : new TokenRefused(parameters, problem.type)
}

/** The parameters of the challenge that says what is wrong; others only offer their scheme. */
function parametersOf({ cause }: WWWAuthenticateChallengeError): WWWAuthenticateChallengeParameters {
  return (cause.find(({ parameters }) => parameters.error !== undefined) ?? cause[0])?.parameters ?? {}
}

/** What a problem document adds to the challenge. A body that is none, or that breaks off, adds nothing. */
async function readProblem(response: Response): Promise<{ type?: string; authorizationDetails?: string }> {
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json') ?? false
  const body: unknown = isProblem ? await response.json().catch(() => undefined) : undefined
  if (typeof body !== 'object' || body === null) return {}
  const { type, authorization_details: details } = body as Readonly<Record<string, unknown>>
  return {
    ...(typeof type === 'string' && { type }),
    ...(Array.isArray(details) && { authorizationDetails: JSON.stringify(details) }),
  }
}
