import type { KeyObject } from 'node:crypto'
import * as client from 'openid-client'
import type { IdTokenClaims } from 'stepgate'

/** What the answer to an authorization request is held against. Secret but for the browser that carries `state`. */
export interface SignInChecks {
  readonly state: string
  readonly nonce: string
  readonly pkceCodeVerifier: string
  readonly maxAgeSeconds: number | undefined
}

/** What to ask the authorization server for. */
export interface SignInRequest {
  readonly scope: string
  readonly acrValues?: readonly string[]
  readonly maxAgeSeconds?: number | undefined
}

/** Why a sign-in failed, in words for a page and a log. */
export type SignInFault = 'denied' | 'refused' | 'unavailable'

/** A sign-in that did not succeed. `detail` is a code of the standard or of the library, and holds no secret. */
export class SignInFailed extends Error {
  override readonly name = 'SignInFailed'
  readonly fault: SignInFault
  readonly detail: string

  constructor(fault: SignInFault, detail: string, cause: unknown) {
    super(`the sign-in failed: ${fault} (${detail})`, { cause })
    this.fault = fault
    this.detail = detail
  }
}

/** The authorization server, as a web app sees it. */
export interface OpenIdProvider {
  /** Builds an authorization request: code flow with PKCE, state and nonce. */
  begin(request: SignInRequest): Promise<{ url: URL; checks: SignInChecks }>
  /**
   * Redeems the code of a callback and returns the claims of the ID Token, verified in full: signature, iss, aud, exp, nonce, and
   * auth_time where a max_age was asked for. Throws SignInFailed. The access token is dropped, since there is no API to call.
   */
  finish(callbackUrl: URL, checks: SignInChecks): Promise<IdTokenClaims>
  /**
   * Where a person signs out of the authorization server too (OpenID Connect RP-Initiated Logout 1.0). Throws SignInFailed, also for
   * one that knows no such place.
   */
  signOutUrl(): Promise<URL>
}

export interface OpenIdProviderOptions {
  readonly issuer: string
  readonly clientId: string
  /** The client's private key (private_key_jwt). */
  readonly privateKey: KeyObject
  readonly redirectUri: string
  readonly postLogoutRedirectUri: string
}

const timeoutSeconds = 5

/** Finds the authorization server when it is first needed, and again until it answers, so the app starts without it. */
export function createOpenIdProvider(options: OpenIdProviderOptions): OpenIdProvider {
  const { issuer, clientId, privateKey, redirectUri, postLogoutRedirectUri } = options
  let discovered: Promise<client.Configuration> | undefined

  async function discover(): Promise<client.Configuration> {
    const jwk = privateKey.export({ format: 'jwk' })
    const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
    const metadata = { id_token_signed_response_alg: 'ES256' }
    // The library trusts TLS in place of the ID Token's signature, unless it is asked to verify both.
    const execute = [client.enableNonRepudiationChecks]
    if (issuer.startsWith('http:')) execute.push(client.allowInsecureRequests)
    const authentication = client.PrivateKeyJwt(key)
    return client.discovery(new URL(issuer), clientId, metadata, authentication, { execute, timeout: timeoutSeconds })
  }

  async function configuration(): Promise<client.Configuration> {
    discovered ??= discover()
    try {
      return await discovered
    } catch (error) {
      discovered = undefined
      throw new SignInFailed('unavailable', codeOf(error), error)
    }
  }

  return {
    async begin({ scope, acrValues = [], maxAgeSeconds }) {
      const config = await configuration()
      const checks: SignInChecks = {
        state: client.randomState(),
        nonce: client.randomNonce(),
        pkceCodeVerifier: client.randomPKCECodeVerifier(),
        maxAgeSeconds,
      }
      const url = client.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope,
        state: checks.state,
        nonce: checks.nonce,
        code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
        code_challenge_method: 'S256',
        ...(acrValues.length > 0 && { acr_values: acrValues.join(' ') }),
        ...(maxAgeSeconds !== undefined && { max_age: String(maxAgeSeconds) }),
      })
      return { url, checks }
    },

    async finish(callbackUrl, { state, nonce, pkceCodeVerifier, maxAgeSeconds }) {
      const config = await configuration()
      try {
        const tokens = await client.authorizationCodeGrant(config, callbackUrl, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier,
          idTokenExpected: true,
          ...(maxAgeSeconds !== undefined && { maxAge: maxAgeSeconds }),
        })
        return tokens.claims() as IdTokenClaims
      } catch (error) {
        throw new SignInFailed(faultOf(error), codeOf(error), error)
      }
    },

    async signOutUrl() {
      const config = await configuration()
      try {
        return client.buildEndSessionUrl(config, { post_logout_redirect_uri: postLogoutRedirectUri })
      } catch (error) {
        throw new SignInFailed('unavailable', codeOf(error), error)
      }
    },
  }
}

function faultOf(error: unknown): SignInFault {
  if (error instanceof client.AuthorizationResponseError) return error.error === 'access_denied' ? 'denied' : 'refused'
  if (error instanceof client.ResponseBodyError) return 'refused'
  return error instanceof client.ClientError && error.code !== 'OAUTH_TIMEOUT' ? 'refused' : 'unavailable'
}

/** A name that says what went wrong. Messages are left out, since they may quote what was sent. */
function codeOf(error: unknown): string {
  if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError) {
    return /^[a-z_]{1,50}$/.test(error.error) ? error.error : 'unknown error'
  }
  return error instanceof client.ClientError ? (error.code ?? error.name) : (error as Error).name
}
