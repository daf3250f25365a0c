import { createHash } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import { demoClient } from '../authorization-server/demo-users.js'
import { HeadlessBrowser } from './headless-browser.js'
import { answerPages, type Person, type Question } from './person.js'
import type { Print } from './terminal.js'

/** Parameters of a `WWW-Authenticate: Bearer` challenge, as oauth4webapi parses them. */
type Challenge = Readonly<Record<string, string | undefined>>

/** An answer of the API. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
  /** The Bearer challenge, when there is one. */
  readonly challenge: Challenge | undefined
}

/** A token, and what the way to it was like. */
export interface Grant {
  readonly accessToken: string
  readonly scope: string | undefined
  readonly lifetimeSeconds: number | undefined
  readonly idToken: client.IDToken | undefined
  readonly questions: readonly Question[]
  /** What the page of the second factor said would be approved, by term; empty when it named no payment. */
  readonly approved: ReadonlyMap<string, string>
}

/** A bank's app: a real OAuth client, with one person at its browser. */
export interface BankClient {
  /** Runs the code flow with PKCE. `parameters` go into the authorization request as they are. */
  requestToken(parameters: Readonly<Record<string, string>>): Promise<Grant>
  /** Sends a request with a token. Never throws for a status. */
  send(request: {
    method: string
    path: string
    accessToken: string
    body?: unknown
    headers?: Readonly<Record<string, string>>
  }): Promise<Answer>
  /** Fetches and checks the API's metadata (RFC 9728). */
  readResourceMetadata(): Promise<oauth.ResourceServer>
}

// RFC 8252 §7.3: a native app takes any port that is free. Nothing listens here, since the browser stops before it.
const callback = 'http://127.0.0.1:49152/callback'

/** Discovers the authorization server's metadata. Loopback only: plain HTTP is allowed for that. */
export async function createBankClient(options: {
  apiUrl: string
  issuer: string
  person: Person
  print: Print
}): Promise<BankClient> {
  const { apiUrl, issuer, person, print } = options
  const metadata = { id_token_signed_response_alg: 'ES256' }
  const execute = [client.allowInsecureRequests]
  const config = await client.discovery(new URL(issuer), demoClient.client_id, metadata, client.None(), { execute })
  const browser = new HeadlessBrowser(issuer, callback)

  return {
    async requestToken(parameters) {
      const pkceCodeVerifier = client.randomPKCECodeVerifier()
      const expectedState = client.randomState()
      const url = client.buildAuthorizationUrl(config, {
        redirect_uri: callback,
        code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: 'S256',
        state: expectedState,
        ...parameters,
      })
      const { callbackUrl, questions, approved } = await answerPages(browser, url, { person, print })
      const tokens = await client.authorizationCodeGrant(config, callbackUrl, { pkceCodeVerifier, expectedState })
      const { access_token: accessToken, scope, expires_in: lifetimeSeconds } = tokens
      return { accessToken, scope, lifetimeSeconds, idToken: tokens.claims(), questions, approved }
    },

    async send({ method, path, accessToken, body, headers }) {
      const allHeaders = new Headers(headers)
      if (body !== undefined) allHeaders.set('content-type', 'application/json')
      const json = body === undefined ? null : JSON.stringify(body)
      try {
        const url = new URL(path, apiUrl)
        return await readAnswer(await client.fetchProtectedResource(config, accessToken, url, method, json, allHeaders))
      } catch (error) {
        // This is how the library hands over a challenge: parsed, as the cause of an error.
        if (error instanceof client.WWWAuthenticateChallengeError) return readAnswer(error.response, error.cause)
        throw error
      }
    },

    async readResourceMetadata() {
      const resource = new URL(apiUrl)
      const response = await oauth.resourceDiscoveryRequest(resource, { [oauth.allowInsecureRequests]: true })
      return oauth.processResourceDiscoveryResponse(resource, response)
    },
  }
}

/** Names a token in what is printed, without giving it away. */
export function digestOf(accessToken: string): string {
  return `sha256:${createHash('sha256').update(accessToken).digest('hex').slice(0, 12)}…`
}

async function readAnswer(response: Response, challenges: client.WWWAuthenticateChallenge[] = []): Promise<Answer> {
  const { status, headers } = response
  const text = await response.text()
  const isJson = /\bjson\b/.test(headers.get('content-type') ?? '')
  const challenge = challenges.find(({ scheme }) => scheme === 'bearer')?.parameters as Challenge | undefined
  return { status, headers, body: isJson ? JSON.parse(text) : text, challenge }
}
