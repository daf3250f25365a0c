import {
  auth,
  extractWWWAuthenticateParams,
  type OAuthClientProvider,
  UnauthorizedError,
} from '@modelcontextprotocol/sdk/client/auth.js'
import { withOAuth } from '@modelcontextprotocol/sdk/client/middleware.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js'
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js'
import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { type BankWithLogins, callback, client, startBankWithLogins } from '../helpers/bank-with-logins.js'
import { ibans, transferBody } from '../helpers/test-api.js'

/** What an MCP application brings to the client: where tokens are kept, and how the user gets to the authorization server. */
class App implements OAuthClientProvider {
  readonly redirectUrl = callback
  readonly clientMetadata = { redirect_uris: [callback] }
  /** Where the user was sent last. */
  authorizationUrl: URL | undefined
  #tokens: OAuthTokens | undefined
  #codeVerifier = ''

  clientInformation() {
    return { client_id: client.client_id }
  }

  tokens() {
    return this.#tokens
  }

  saveTokens(tokens: OAuthTokens) {
    this.#tokens = tokens
  }

  redirectToAuthorization(url: URL) {
    this.authorizationUrl = url
  }

  saveCodeVerifier(codeVerifier: string) {
    this.#codeVerifier = codeVerifier
  }

  codeVerifier() {
    return this.#codeVerifier
  }
}

/** Checks that the client wants the user to authorize it: its error has no name of its own. */
async function expectUnauthorized(t: Test, request: Promise<unknown>, message: string): Promise<void> {
  const error = await request.catch((reason: unknown) => reason)
  t.ok(error instanceof UnauthorizedError, message)
}

/** Sends alice where the client wants her, and checks what it asks for there. Returns the code. */
async function authorize(
  t: Test,
  { apiUrl, issuer, visit }: BankWithLogins,
  app: App,
  expected: { scope: string; asked: string[] },
): Promise<string> {
  const url = app.authorizationUrl as URL
  t.equal(url.origin, issuer, 'the authorization server of the metadata')
  t.equal(url.searchParams.get('scope'), expected.scope, 'the scope of the challenge, not all that are supported')
  t.equal(url.searchParams.get('resource'), apiUrl)
  const { callbackUrl, asked } = await visit(url)
  t.strictSame(asked, expected.asked)
  return callbackUrl.searchParams.get('code') as string
}

/** A client that alice has signed in to for reading. */
async function signIn(t: Test, bank: BankWithLogins): Promise<App> {
  const app = new App()
  const serverUrl = `${bank.apiUrl}/accounts`
  const read = () => withOAuth(app, serverUrl)(fetch)(serverUrl)
  await expectUnauthorized(t, read(), 'without a token the client starts an authorization')
  const authorizationCode = await authorize(t, bank, app, { scope: 'read:accounts', asked: ['password'] })
  t.equal(await auth(app, { serverUrl, authorizationCode }), 'AUTHORIZED')
  t.equal((await read()).status, 200)
  return app
}

/** The transport puts whatever it is given into a POST, so it can make a transfer where there is no MCP server. */
function transferBy(app: App, { apiUrl }: BankWithLogins) {
  const transport = new StreamableHTTPClientTransport(new URL(`${apiUrl}/transfers`), { authProvider: app })
  return { transport, pay: () => transport.send(transferBody() as unknown as JSONRPCMessage) }
}

async function balanceOf(t: Test, { dataFolder }: BankWithLogins, iban: string): Promise<bigint | undefined> {
  const { balances } = await auditBank(t, dataFolder)
  return balances[iban]
}

const stepUp = { scope: 'transfer:funds', asked: ['second factor'] }

t.test('the step-up loop of the MCP client: challenge, metadata, authorization server, new token, retry', async (t) => {
  const bank = await startBankWithLogins(t)
  const app = await signIn(t, bank)
  const { transport, pay } = transferBy(app, bank)

  await expectUnauthorized(t, pay(), 'RFC 6750 §3.1: the 403 starts a new authorization')
  t.equal(await balanceOf(t, bank, ibans.bob), 20_000n, 'no money moved')
  await transport.finishAuth(await authorize(t, bank, app, stepUp))
  await pay()
  t.equal(await balanceOf(t, bank, ibans.bob), 22_500n, 'the retry with the new token moved it once')

  await expectUnauthorized(t, pay(), 'the same token again: its 401 starts another authorization')
  t.equal(await balanceOf(t, bank, ibans.bob), 22_500n)
  await transport.finishAuth(await authorize(t, bank, app, stepUp))
  await pay()
  t.equal(await balanceOf(t, bank, ibans.bob), 25_000n)
})

t.test('a client that signs in for a transfer at once asks for no more than that', async (t) => {
  const bank = await startBankWithLogins(t)
  const app = new App()
  const { transport, pay } = transferBy(app, bank)
  await expectUnauthorized(t, pay(), 'refused')
  const asked = ['password', 'second factor']
  await transport.finishAuth(await authorize(t, bank, app, { scope: 'transfer:funds', asked }))
  await pay()
  t.equal(await balanceOf(t, bank, ibans.bob), 22_500n)
})

t.test('a client whose user did not step up sees the same challenge again and stops', async (t) => {
  const bank = await startBankWithLogins(t)
  const { pay } = transferBy(await signIn(t, bank), bank)
  await expectUnauthorized(t, pay(), 'refused')
  await t.rejects(pay(), { code: 403, message: /after trying upscoping/ })
  t.equal(await balanceOf(t, bank, ibans.bob), 20_000n)
})

t.test('what the MCP client reads in each challenge', async (t) => {
  const bank = await startBankWithLogins(t)
  const app = await signIn(t, bank)
  const resourceMetadataUrl = new URL(`${bank.apiUrl}/.well-known/oauth-protected-resource`)
  const readToken = app.tokens()?.access_token
  const cases: [name: string, path: string, token: string | undefined, expected: Record<string, string | undefined>][] =
    [
      ['no token on a read', '/accounts', undefined, { scope: 'read:accounts', error: undefined }],
      ['no token on a transfer', '/transfers', undefined, { scope: 'transfer:funds', error: undefined }],
      ['no JWT', '/accounts', 'mF_9.B5f-4.1JqM', { scope: 'read:accounts', error: 'invalid_token' }],
      ['step-up', '/transfers', readToken, { scope: 'transfer:funds', error: 'insufficient_scope' }],
    ]
  for (const [name, path, token, expected] of cases) {
    const method = path === '/transfers' ? 'POST' : 'GET'
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await fetch(`${bank.apiUrl}${path}`, { method, headers })
    t.strictSame(extractWWWAuthenticateParams(response), { resourceMetadataUrl, ...expected }, name)
  }
})
