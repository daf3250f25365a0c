import * as oauth from 'oauth4webapi'
import type { Grant, StepUpParameters } from '../step-up-fetch.js'
import { obtainKeyPair } from './dpop-key.js'
import { type AuthorizationRecord, authorizationInProgress } from './session.js'
import { clientId, issuer, redirectUri } from './settings.js'
import { digestOf, trace, tracedFetch } from './trace.js'

const client: oauth.Client = { client_id: clientId, id_token_signed_response_alg: 'ES256' }

/** Plain HTTP is for loopback alone, where the demonstration runs. */
export const requestOptions = {
  [oauth.customFetch]: tracedFetch,
  [oauth.allowInsecureRequests]: location.protocol === 'http:',
}

/** A grant, and who it is for. */
export interface SignedIn {
  readonly grant: Grant
  readonly subject: string
}

/** The authorization server answered with an error (RFC 6749 §4.1.2.1, §5.2; OpenID Connect Core §3.1.2.6). */
export class AuthorizationRefused extends Error {
  override readonly name = 'AuthorizationRefused'
  readonly code: string

  constructor(code: string) {
    super('the authorization server refused')
    this.code = code
  }

  /** Whether it is the person who did not, rather than a server that could not. */
  get isByPerson(): boolean {
    return personsRefusals.includes(this.code)
  }
}

/** What a person decided, or what nobody was asked for because of `prompt=none`. */
const personsRefusals = [
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]

/** The answer is not one to a request of this tab: an old page, a link from elsewhere, or an attack (RFC 6749 §10.12). */
export class UnexpectedAnswer extends Error {
  override readonly name = 'UnexpectedAnswer'
}

/**
 * Sends the person to the authorization server, with exactly these parameters and what the code flow itself needs. The
 * scope `openid` is added, so that the ID Token says who comes back. Rejects when the server does not answer; otherwise
 * the page is left, and the promise stays open.
 */
export async function leaveForAuthorization(
  parameters: StepUpParameters,
  { purpose, returnTo, prompt }: Pick<AuthorizationRecord, 'purpose' | 'returnTo'> & { prompt?: 'none' },
): Promise<never> {
  const [server, keyPair] = await Promise.all([discover(), obtainKeyPair()])
  const state = oauth.generateRandomState()
  const nonce = oauth.generateRandomNonce()
  const codeVerifier = oauth.generateRandomCodeVerifier()
  authorizationInProgress.save({ state, nonce, codeVerifier, purpose, parameters, returnTo })
  const asked = { ...parameters, ...(prompt && { prompt }) }
  const address = new URL(server.authorization_endpoint ?? issuer)
  address.search = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    code_challenge: await oauth.calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    // RFC 9449 §10: the code, too, is of no use without the key.
    dpop_jkt: await oauth.DPoP(client, keyPair).calculateThumbprint(),
    ...asked,
    scope: `openid ${parameters.scope ?? ''}`.trim(),
  }).toString()
  location.assign(address)
  return new Promise(() => {})
}

/**
 * Makes a grant of the answer in the page's address. Throws UnexpectedAnswer or AuthorizationRefused, or rejects when the
 * server does not answer; the code is spent then, and a new request has to be made.
 */
export async function completeAuthorization(answer: URL, record: AuthorizationRecord | undefined): Promise<SignedIn> {
  if (record === undefined || answer.searchParams.get('state') !== record.state) throw new UnexpectedAnswer()
  const [server, keyPair] = await Promise.all([discover(), obtainKeyPair()])
  const answered = readAnswer(server, answer, record.state)
  const dpop = oauth.DPoP(client, keyPair)
  const exchange = async () => {
    const options = { ...requestOptions, DPoP: dpop }
    const { codeVerifier } = record
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      oauth.None(),
      answered,
      redirectUri,
      codeVerifier,
      options,
    )
    return oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: record.nonce,
      requireIdToken: true,
      ...(record.parameters.max_age !== undefined && { maxAge: Number(record.parameters.max_age) }),
    })
  }
  const tokens = await exchange().catch((error: unknown) => {
    if (oauth.isDPoPNonceError(error)) return exchange()
    throw error instanceof oauth.ResponseBodyError ? new AuthorizationRefused(error.error) : error
  })
  // RFC 6749 §5.1: no scope in the answer means that it is the one that was asked for.
  const { access_token: accessToken, scope = record.parameters.scope ?? '', expires_in: seconds } = tokens
  trace('token', `Token ${await digestOf(accessToken)}`, [
    ['Scopes granted', scope],
    ['Lifetime', `${seconds} s`],
    ['Bound to', 'the key of this browser (DPoP)'],
  ])
  return { grant: { accessToken, scope, dpop }, subject: oauth.getValidatedIdTokenClaims(tokens)?.sub ?? '' }
}

/** Leaves for the authorization server's own sign-out page, which leads back here. */
export async function leaveForSignOut(): Promise<never> {
  const { end_session_endpoint: endpoint = issuer } = await discover()
  const address = new URL(endpoint)
  address.search = new URLSearchParams({
    client_id: clientId,
    post_logout_redirect_uri: new URL('/', location.origin).href,
  }).toString()
  location.assign(address)
  return new Promise(() => {})
}

async function discover(): Promise<oauth.AuthorizationServer> {
  const address = new URL(issuer)
  return oauth.processDiscoveryResponse(address, await oauth.discoveryRequest(address, requestOptions))
}

/** Checks state and issuer (RFC 9207) of the answer, and turns an error in it into AuthorizationRefused. */
function readAnswer(server: oauth.AuthorizationServer, answer: URL, state: string): URLSearchParams {
  try {
    return oauth.validateAuthResponse(server, client, answer, state)
  } catch (error) {
    if (error instanceof oauth.AuthorizationResponseError) throw new AuthorizationRefused(error.error)
    throw error
  }
}
