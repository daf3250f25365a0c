import {
  customFetch,
  type DPoPHandle,
  DPoP as dpopHandle,
  generateKeyPair,
  isDPoPNonceError,
  processResourceDiscoveryResponse,
  protectedResourceRequest,
  resourceDiscoveryRequest,
  WWWAuthenticateChallengeError,
} from 'oauth4webapi'
import t, { type Test } from 'tap'
import { acrMfa, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey } from '../helpers/test-issuer.js'

/** What oauth4webapi hands to fetch, as far as it matters here. */
interface Sent {
  method: string
  headers: Record<string, string>
  body?: unknown
}

const { clock, issuer, tokens, url } = await startTestApi(t)

/** The public address leads to the test server, as a proxy would have it. */
const toTestServer = {
  [customFetch]: (address: string, { method, headers, body }: Sent) =>
    fetch(address.replace(publicUrl, url), { method, headers, ...(typeof body === 'string' ? { body } : {}) }),
}

function read(token: string): Promise<Response> {
  return protectedResourceRequest(token, 'GET', new URL(`${publicUrl}/accounts`), undefined, null, toTestServer)
}

function transfer(token: string): Promise<Response> {
  const headers = new Headers({ 'content-type': 'application/json' })
  const body = JSON.stringify(transferBody())
  return protectedResourceRequest(token, 'POST', new URL(`${publicUrl}/transfers`), headers, body, toTestServer)
}

/** What the client makes of a refusal: the challenges, parsed, next to the body. */
async function challengeOf(request: Promise<Response>) {
  const error = await request.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof WWWAuthenticateChallengeError)) throw new Error('expected a challenge', { cause: error })
  const body = (await error.response.json()) as Record<string, unknown>
  return { status: error.status, challenges: error.cause, body }
}

async function check(t: Test, request: Promise<Response>, status: number, expected: Record<string, string>) {
  const refusal = await challengeOf(request)
  t.equal(refusal.status, status)
  const [challenge, offer] = refusal.challenges
  t.strictSame(offer?.scheme, status === 401 ? 'dpop' : undefined, 'a 401 offers DPoP as well')
  t.equal(challenge?.scheme, 'bearer')
  t.equal(challenge?.token68, undefined)
  const { realm, ...parameters } = challenge?.parameters ?? {}
  t.equal(realm, 'stepgate')
  const { type, title, status: bodyStatus, detail, instance, authorization_details, ...members } = refusal.body
  const asText = Object.fromEntries(Object.entries(members).map(([name, value]) => [name, String(value)]))
  t.strictSame({ ...parameters }, asText, 'the challenge and the body say the same')
  const resource_metadata = `${publicUrl}/.well-known/oauth-protected-resource`
  const { error_description, ...rest } = parameters
  t.strictSame({ ...rest }, { resource_metadata, ...expected })
  t.equal(error_description, detail)
}

const stepUp = { scope: 'transfer:funds', acr_values: acrMfa, max_age: '300' }
const strong = (changes: Claims = {}) => tokens.transfer(changes)

t.test('every challenge means to oauth4webapi what the body says', async (t) => {
  const spent = strong()
  t.equal((await transfer(spent)).status, 201)
  const forged = tokens.sign(tokens.claims(), {}, makeKey('ES256', issuer.keys.ES256.kid))
  const cases: [string, () => Promise<Response>, number, Record<string, string>][] = [
    ['invalid on a read', () => read(forged), 401, { error: 'invalid_token', scope: 'read:accounts' }],
    ['invalid on a transfer', () => transfer(forged), 401, { error: 'invalid_token', scope: 'transfer:funds' }],
    ['opaque', () => read('mF_9.B5f-4.1JqM'), 401, { error: 'invalid_token', scope: 'read:accounts' }],
    ['expired', () => read(tokens.read({ exp: 1 })), 401, { error: 'invalid_token', scope: 'read:accounts' }],
    ['bound by cnf', () => read(tokens.read({ cnf: {} })), 401, { error: 'invalid_token', scope: 'read:accounts' }],
    [
      'no read scope',
      () => read(tokens.read({ scope: 'x' })),
      403,
      { error: 'insufficient_scope', scope: 'read:accounts' },
    ],
    ['step-up', () => transfer(tokens.read()), 403, { error: 'insufficient_scope', ...stepUp }],
    ['weak', () => transfer(strong({ acr: 'x' })), 401, { error: 'insufficient_user_authentication', ...stepUp }],
    ['old', () => transfer(strong({ auth_time: 1 })), 401, { error: 'insufficient_user_authentication', ...stepUp }],
    ['spent', () => transfer(spent), 401, { error: 'invalid_token', ...stepUp }],
    ['no jti', () => transfer(strong({ jti: undefined })), 401, { error: 'invalid_token', ...stepUp }],
    ['too long', () => transfer(strong({ exp: clock.nowSeconds + 9999 })), 401, { error: 'invalid_token', ...stepUp }],
    ['bound', () => transfer(strong({ authorization_details: [] })), 403, { error: 'insufficient_scope', ...stepUp }],
  ]
  for (const [name, request, status, expected] of cases)
    await t.test(name, (t) => check(t, request(), status, expected))
})

t.test('a client that sends no token learns scope and metadata, and nothing else', async (t) => {
  const withoutToken = {
    [customFetch]: (address: string) => fetch(address.replace(publicUrl, url)),
  }
  const request = protectedResourceRequest('x', 'GET', new URL(`${publicUrl}/accounts`), undefined, null, withoutToken)
  const { status, challenges, body } = await challengeOf(request)
  t.equal(status, 401)
  t.strictSame(
    { ...challenges[0]?.parameters },
    {
      realm: 'stepgate',
      scope: body['scope'],
      resource_metadata: body['resource_metadata'],
    },
  )
})

t.test('refusals without a challenge reach the client as answers', async (t) => {
  const address = new URL(`${publicUrl}/accounts/x`)
  const response = await protectedResourceRequest(tokens.read(), 'GET', address, undefined, null, toTestServer)
  t.equal(response.status, 404)
  t.match(await response.json(), { status: 404 })
})

t.test('oauth4webapi finds the authorization server through the metadata', async (t) => {
  const resource = new URL(publicUrl)
  const metadata = await processResourceDiscoveryResponse(
    resource,
    await resourceDiscoveryRequest(resource, toTestServer),
  )
  t.strictSame(metadata.authorization_servers, [issuer.url])
  t.strictSame(metadata.scopes_supported, ['read:accounts', 'transfer:funds'])
  t.equal(metadata.resource, publicUrl)
})

t.test('the whole step-up, as a client sees it: refused, asked, granted, spent', async (t) => {
  const { challenges } = await challengeOf(transfer(tokens.read()))
  const { scope, acr_values, max_age } = challenges[0]?.parameters ?? {}
  t.ok(Number(max_age) > 0)
  const granted = tokens.read({ scope, acr: acr_values?.split(' ')[0], auth_time: clock.nowSeconds })
  t.equal((await transfer(granted)).status, 201)
  const again = await challengeOf(transfer(granted))
  t.equal(again.challenges[0]?.parameters['error'], 'invalid_token')
  t.equal(again.challenges[0]?.parameters.scope, scope, 'and it may ask again with the same parameters')
})

t.test('RFC 9449 §9: the DPoP nonce loop of oauth4webapi, with each algorithm it has', async (t) => {
  const strict = await startTestApi(t, { issuer, clock, environment: { DPOP: 'require', DPOP_NONCE: 'on' } })
  const toStrictServer = {
    [customFetch]: (address: string, { method, headers }: Sent) =>
      fetch(address.replace(publicUrl, strict.url), { method, headers }),
  }
  const readWith = (token: string, DPoP: DPoPHandle) =>
    protectedResourceRequest(token, 'GET', new URL(`${publicUrl}/accounts?`), undefined, null, {
      ...toStrictServer,
      DPoP,
    })
  for (const alg of ['ES256', 'Ed25519', 'PS256']) {
    const handle = dpopHandle({}, await generateKeyPair(alg))
    const bound = tokens.read({ cnf: { jkt: await handle.calculateThumbprint() } })
    const error = await readWith(bound, handle).catch((reason: unknown) => reason)
    t.ok(isDPoPNonceError(error), `${alg}: the client knows what is wanted`)
    for (const use of ['the nonce it was given', 'the same for the next request']) {
      t.equal((await readWith(bound, handle)).status, 200, `${alg}: ${use}`)
    }
  }
})
