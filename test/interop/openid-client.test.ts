import { decodeJwt } from 'jose'
import * as client from 'openid-client'
import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { callback, client as demoClient, startBankWithLogins } from '../helpers/bank-with-logins.js'
import { acrMfa, ibans, transferBody } from '../helpers/test-api.js'

/** One request of the client's to the API, as far as nonces are concerned. */
interface Exchange {
  status: number
  error: string | undefined
  /** In the proof that was sent. */
  nonce: string | undefined
  jti: string | undefined
  /** In the answer. */
  nextNonce: string | undefined
}

function noteExchange({ headers }: client.CustomFetchOptions, response: Response): Exchange {
  const proof = new Headers(headers as Record<string, string>).get('dpop')
  const { nonce, jti } = proof === null ? {} : (decodeJwt(proof) as { nonce?: string; jti?: string })
  const error = /error="(\w+)"/.exec(response.headers.get('www-authenticate') ?? '')?.[1]
  return { status: response.status, error, nonce, jti, nextNonce: response.headers.get('dpop-nonce') ?? undefined }
}

/** A bank's app on openid-client, with alice at its browser. */
async function start(t: Test, changes: Record<string, string> = {}) {
  const bank = await startBankWithLogins(t, changes)
  const metadata = { id_token_signed_response_alg: 'ES256' }
  const execute = [client.allowInsecureRequests]
  const { issuer } = bank
  const config = await client.discovery(new URL(issuer), demoClient.client_id, metadata, client.None(), { execute })

  /** The authorization code flow with PKCE (RFC 7636). The parameters go into the authorization request as they are. */
  async function authorize(parameters: Record<string, string>, options?: client.DPoPOptions) {
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    const expectedState = client.randomState()
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: callback,
      code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: expectedState,
      ...parameters,
    })
    const { callbackUrl, asked } = await bank.visit(url)
    const checks = { pkceCodeVerifier, expectedState }
    const tokens = await client.authorizationCodeGrant(config, callbackUrl, checks, {}, options)
    return { token: tokens.access_token, scope: tokens.scope, asked }
  }

  /** What the client sent to the API and was answered, since this was last asked. */
  const seen: Exchange[] = []
  const takeSeen = (): Exchange[] => seen.splice(0)
  config[client.customFetch] = async (url, options) => {
    const response = await fetch(url, options as RequestInit)
    if (url.startsWith(bank.apiUrl)) seen.push(noteExchange(options, response))
    return response
  }

  function read(token: string, options?: client.DPoPOptions): Promise<Response> {
    const url = new URL(`${bank.apiUrl}/accounts`)
    return client.fetchProtectedResource(config, token, url, 'GET', null, undefined, options)
  }

  function transfer(token: string, options?: client.DPoPOptions): Promise<Response> {
    const url = new URL(`${bank.apiUrl}/transfers`)
    const headers = new Headers({ 'content-type': 'application/json' })
    const body = JSON.stringify(transferBody())
    return client.fetchProtectedResource(config, token, url, 'POST', body, headers, options)
  }

  return { ...bank, config, authorize, read, takeSeen, transfer }
}

/** The parameters of the challenge that a request is refused with, as the client hands them over. */
async function challengeOf(request: Promise<Response>, scheme = 'bearer'): Promise<Record<string, string | undefined>> {
  const error: unknown = await request.then(
    ({ status }) => status,
    (reason: unknown) => reason,
  )
  if (!(error instanceof client.WWWAuthenticateChallengeError))
    throw new Error('expected a challenge', { cause: error })
  return { ...error.cause.find((challenge) => challenge.scheme === scheme)?.parameters }
}

t.test(
  'RFC 9470 §4: the parameters of the challenge, passed on unchanged, lead to a token that pays once',
  async (t) => {
    const { apiUrl, dataFolder, authorize, read, transfer } = await start(t)
    const reading = await authorize({ scope: 'openid read:accounts' })
    t.match(reading, { scope: 'read:accounts', asked: ['password'] })
    t.equal((await read(reading.token)).status, 200)

    const { realm, error, error_description, resource_metadata, ...parameters } = await challengeOf(
      transfer(reading.token),
    )
    t.equal(error, 'insufficient_scope')
    t.equal(resource_metadata, `${apiUrl}/.well-known/oauth-protected-resource`)
    t.strictSame(parameters, { scope: 'transfer:funds', acr_values: acrMfa, max_age: '300' })

    const paying = await authorize(parameters as Record<string, string>)
    t.match(paying, { scope: 'transfer:funds', asked: ['second factor'] })
    t.equal((await transfer(paying.token)).status, 201)
    const again = await challengeOf(transfer(paying.token))
    t.match(again, { error: 'invalid_token', ...parameters }, 'and may step up again by the same parameters')
    t.equal((await read(reading.token)).status, 200, 'the first token still reads')
    t.equal((await auditBank(t, dataFolder)).balances[ibans.bob], 22_500n, 'paid once')
  },
)

t.test(
  'RFC 9396: the authorization details of a refusal, passed on unchanged, lead to a token for that payment',
  async (t) => {
    const { dataFolder, authorize, transfer } = await start(t, { TRANSACTION_BINDING: 'require' })
    const unbound = await authorize({ scope: 'openid transfer:funds', acr_values: acrMfa })
    const error: unknown = await transfer(unbound.token).catch((reason: unknown) => reason)
    if (!(error instanceof client.WWWAuthenticateChallengeError))
      throw new Error('expected a challenge', { cause: error })
    const { scope, acr_values, max_age, authorization_details } = (await error.response.json()) as Record<
      string,
      unknown
    >
    const bound = await authorize({
      scope: String(scope),
      acr_values: String(acr_values),
      max_age: String(max_age),
      authorization_details: JSON.stringify(authorization_details),
    })
    t.equal((await transfer(bound.token)).status, 201)
    t.equal((await auditBank(t, dataFolder)).balances[ibans.bob], 22_500n, 'paid once')
  },
)

t.test('RFC 9449 §8, §9: openid-client binds a token to its key and follows the nonces of the API', async (t) => {
  const changes = { DPOP: 'require', DPOP_NONCE: 'on' }
  const { config, dataFolder, authorize, read, takeSeen, transfer } = await start(t, changes)
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
  const reading = await authorize({ scope: 'openid read:accounts' }, { DPoP })
  const offered = await challengeOf(read(reading.token), 'dpop')
  t.match(offered, { algs: /\bES256\b/ }, 'without a proof the client learns what is wanted')
  takeSeen()
  t.equal((await read(reading.token, { DPoP })).status, 200)
  const [challenged, repeated, ...more] = takeSeen()
  const nonce = challenged?.nextNonce
  t.match(challenged, { status: 401, error: 'use_dpop_nonce', nextNonce: /^[\w-]{43}$/ })
  t.equal(challenged?.nonce, undefined, 'the client knew no nonce of the API')
  t.match(repeated, { status: 200, nonce }, 'the client asks again with the nonce by itself')
  t.not(repeated?.jti, challenged?.jti, 'by another proof')
  t.strictSame(more, [])
  t.equal((await read(reading.token, { DPoP })).status, 200)
  const [kept, ...others] = takeSeen()
  t.match(kept, { status: 200, nonce: repeated?.nextNonce ?? nonce }, 'and keeps it for the next request')
  t.strictSame(others, [])

  const { scope, acr_values, max_age, error } = await challengeOf(transfer(reading.token, { DPoP }), 'dpop')
  t.equal(error, 'insufficient_scope')
  const parameters = { scope: String(scope), acr_values: String(acr_values), max_age: String(max_age) }
  const paying = await authorize(parameters, { DPoP })
  t.equal((await transfer(paying.token, { DPoP })).status, 201)
  t.match(await challengeOf(transfer(paying.token, { DPoP }), 'dpop'), { error: 'invalid_token', ...parameters })
  t.equal((await auditBank(t, dataFolder)).balances[ibans.bob], 22_500n, 'paid once')
})
