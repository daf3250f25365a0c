import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createRemoteJWKSet, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { TOTP } from 'otpauth'
import t, { type Test } from 'tap'
import { describePayment } from '#src/core/transaction-binding.js'
import type { SecondFactor } from '../../examples/authorization-server/second-factor.js'
import { startAuthorizationServer } from '../../examples/authorization-server/server.js'
import { codeAlreadyUsed } from '../../examples/authorization-server/totp.js'
import { HeadlessBrowser, type Page, type Visit } from '../../examples/demo/headless-browser.js'
import { bankEnvironment, findFreePort, startServer, untilReady } from '../helpers/server-process.js'
import { transferBody } from '../helpers/test-api.js'

const resource = 'http://127.0.0.1:3999'
const callback = 'http://127.0.0.1:9/callback'
const mfa = 'urn:stepgate:acr:mfa'
const pwd = 'urn:stepgate:acr:pwd'
const alice = { username: 'alice', password: 'a password of alice', totpSecret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' }
const carol = { username: 'carol', password: 'a password of carol' }
const payment = {
  type: 'payment_initiation',
  instructedAmount: { currency: 'EUR', amount: '25.00' },
  creditorAccount: { iban: 'DE89370400440532013000' },
  creditorName: 'Bob <script>',
}

/** A clock that stands still until it is stepped. It starts at the machine's time, since oidc-provider has no other. */
class SteppedClock {
  #nowMs = Date.now()

  nowMs(): number {
    return this.#nowMs
  }

  stepSeconds(seconds: number): void {
    this.#nowMs += seconds * 1000
  }
}

/** A server, a browser of its own, and a real client. */
async function start(t: Test, options: { secondFactor?: SecondFactor } = {}) {
  const clock = new SteppedClock()
  const server = await startAuthorizationServer({
    port: 0,
    resource,
    users: [alice, carol],
    clients: [
      {
        client_id: 'native',
        client_name: 'A <native> app',
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback'],
      },
      { client_id: 'web', redirect_uris: ['https://bank.example/callback'] },
    ],
    clock,
    passwordCost: { N: 2 },
    ...options,
  })
  t.teardown(() => server.close())
  const config = await client.discovery(
    new URL(server.issuer),
    'native',
    { id_token_signed_response_alg: 'ES256' },
    client.None(),
    { execute: [client.allowInsecureRequests] },
  )
  const codeOf = (base32: string) => new TOTP({ secret: base32 }).generate({ timestamp: clock.nowMs() })
  return { ...server, clock, config, browser: new HeadlessBrowser(server.issuer, callback), codeOf }
}

type World = Awaited<ReturnType<typeof start>>

interface Request {
  readonly url: URL
  readonly checks: client.AuthorizationCodeGrantChecks
}

async function ask(world: World, parameters: Record<string, string>): Promise<Request> {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(world.config, {
    redirect_uri: callback,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    ...parameters,
  })
  return { url, checks: { pkceCodeVerifier, expectedState } }
}

function pageOf(visit: Visit): Page {
  if (visit.kind !== 'page') throw new Error(`expected a page, got the callback ${visit.url.search}`)
  return visit.page
}

function callbackOf(visit: Visit): URL {
  if (visit.kind !== 'callback')
    throw new Error(`expected the callback, got a page: ${visit.page.alert ?? visit.page.html}`)
  return visit.url
}

const asks = (page: Page) => [...page.fields.keys()].join(' ')

function signIn(world: World, page: Page, user: { username: string; password: string } = alice): Promise<Visit> {
  return world.browser.submit(page, { username: user.username, password: user.password })
}

/** Signs alice in for reading, so that the browser has a session. */
async function openSession(world: World) {
  const request = await ask(world, { scope: 'openid read:accounts' })
  const visit = await signIn(world, pageOf(await world.browser.open(request.url)))
  return redeem(world, request, visit)
}

async function redeem(world: World, request: Request, visit: Visit) {
  const tokens = await client.authorizationCodeGrant(world.config, callbackOf(visit), request.checks)
  const { payload, protectedHeader } = await verify(world, tokens.access_token)
  return { tokens, claims: payload, header: protectedHeader, idToken: tokens.claims() }
}

function verify(world: World, token: string) {
  const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`))
  return jwtVerify(token, keys, { issuer: world.issuer, audience: resource, typ: 'at+jwt' })
}

/** Opens a request in a session that exists, and gives the second factor. */
async function stepUp(world: World, parameters: Record<string, string>) {
  const request = await ask(world, parameters)
  const page = pageOf(await world.browser.open(request.url))
  const visit = await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) })
  return { page, ...(await redeem(world, request, visit)) }
}

/** Asks for the metadata as a proxy would: fetch lets nobody choose the Host header. */
async function getMetadata(
  port: number,
  headers: Record<string, string>,
): Promise<{ status: number | undefined; body: string }> {
  const outgoing = request({ host: '127.0.0.1', port, path: '/.well-known/openid-configuration', headers }).end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  return { status: response.statusCode, body: await text(response) }
}

const lifetimeSeconds = ({ iat = 0, exp = 0 }: JWTPayload) => exp - iat

t.test('the metadata says what is there, and nothing else is', async (t) => {
  const world = await start(t)
  const response = await fetch(`${world.issuer}/.well-known/openid-configuration`)
  const metadata = (await response.json()) as Record<string, unknown>
  t.match(metadata, {
    issuer: world.issuer,
    acr_values_supported: [pwd, mfa],
    scopes_supported: ['openid', 'step_up', 'read:accounts', 'transfer:funds'],
    grant_types_supported: ['authorization_code'],
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
    authorization_details_types_supported: ['payment_initiation'],
    dpop_signing_alg_values_supported: ['ES256'],
    protected_resources: [resource],
  })
  for (const name of ['registration', 'device_authorization', 'userinfo', 'introspection', 'revocation']) {
    t.notOk(`${name}_endpoint` in metadata, name)
  }
  const keys = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] }
  t.match(keys.keys, [{ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: /./ }])
  t.notOk(
    keys.keys.some((key) => 'd' in key),
    'the private key stays here',
  )
})

t.test('grants other than the code are refused', async (t) => {
  const { issuer } = await start(t)
  for (const grantType of [
    'password',
    'client_credentials',
    'refresh_token',
    'urn:ietf:params:oauth:grant-type:device_code',
  ]) {
    const body = new URLSearchParams({
      grant_type: grantType,
      client_id: 'native',
      username: 'alice',
      password: alice.password,
    })
    const response = await fetch(`${issuer}/token`, { method: 'POST', body })
    t.equal(response.status, 400, grantType)
    t.match(await response.json(), { error: 'unsupported_grant_type' })
  }
})

t.test('a plain login gives a token for reading, at the level "normal"', async (t) => {
  const world = await start(t)
  const { tokens, claims, header, idToken } = await openSession(world)
  const expected = {
    acr: pwd,
    amr: ['pwd'],
    auth_time: Math.floor(world.clock.nowMs() / 1000),
    authentication_level: 'normal',
  }
  t.match(header, { alg: 'ES256', typ: 'at+jwt', kid: /./ })
  t.match(claims, {
    ...expected,
    iss: world.issuer,
    aud: resource,
    sub: 'alice',
    client_id: 'native',
    scope: 'read:accounts',
    jti: /./,
  })
  t.equal(lifetimeSeconds(claims), 3600)
  t.match(idToken, { ...expected, sub: 'alice', aud: 'native' })
  t.equal(decodeProtectedHeader(tokens.id_token ?? '').alg, 'ES256')
  t.notOk(tokens.refresh_token)
})

t.test('RFC 7636: no code without a challenge, no token without its verifier', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid read:accounts' })
  url.searchParams.delete('code_challenge')
  url.searchParams.delete('code_challenge_method')
  t.equal(callbackOf(await world.browser.open(url)).searchParams.get('error'), 'invalid_request')

  const request = await ask(world, { scope: 'openid read:accounts' })
  const visit = await signIn(world, pageOf(await world.browser.open(request.url)))
  const other = { ...request, checks: { ...request.checks, pkceCodeVerifier: client.randomPKCECodeVerifier() } }
  await t.rejects(redeem(world, other, visit), { cause: { error: 'invalid_grant' } })
})

for (const parameters of [
  { scope: 'openid transfer:funds' },
  { scope: 'openid read:accounts transfer:funds' },
  { scope: 'openid step_up' },
  { scope: 'openid read:accounts', acr_values: mfa },
  { scope: 'openid read:accounts', acr_values: `${pwd} ${mfa}` },
  { scope: 'openid read:accounts', authorization_details: JSON.stringify([payment]) },
  { scope: 'transfer:funds', acr_values: mfa, max_age: '300' },
]) {
  t.test(`${JSON.stringify(parameters)} forces a second factor, and only that, in a session`, async (t) => {
    const world = await start(t)
    const first = await openSession(world)
    world.clock.stepSeconds(60)
    const { page, claims, idToken } = await stepUp(world, parameters)
    t.equal(asks(page), 'answer')
    const expected = { acr: mfa, amr: ['pwd', 'otp', 'mfa'], authentication_level: 'mfa' }
    t.match(claims, expected)
    t.match(idToken, expected)
    t.equal(claims['auth_time'], Number(first.claims['auth_time']) + 60, 'a new authentication')
    t.equal(idToken?.['auth_time'], claims['auth_time'])
    t.equal(lifetimeSeconds(claims), parameters.scope.includes('transfer:funds') ? 120 : 3600)
  })
}

t.test('without a session the password comes first, then the second factor', async (t) => {
  const world = await start(t)
  const request = await ask(world, { scope: 'openid transfer:funds' })
  const login = pageOf(await world.browser.open(request.url))
  t.equal(asks(login), 'username password')
  const second = pageOf(await signIn(world, login))
  t.equal(asks(second), 'answer')
  const visit = await world.browser.submit(second, { answer: world.codeOf(alice.totpSecret) })
  t.match((await redeem(world, request, visit)).claims, { acr: mfa, scope: 'transfer:funds' })
})

t.test('RFC 9126: a pushed request is asked for the second factor too', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { url } = await ask(world, { scope: 'openid transfer:funds' })
  const pushed = await client.buildAuthorizationUrlWithPAR(world.config, url.searchParams)
  t.notOk(pushed.searchParams.has('scope'))
  t.equal(asks(pageOf(await world.browser.open(pushed))), 'answer')
})

t.test('prompt=login asks for the password again before the second factor', async (t) => {
  const world = await start(t)
  await openSession(world)
  const request = await ask(world, { scope: 'openid transfer:funds', prompt: 'login' })
  const login = pageOf(await world.browser.open(request.url))
  t.equal(asks(login), 'username password')
  t.equal(asks(pageOf(await signIn(world, login))), 'answer')
})

t.test('every request for a high-value scope is asked anew, whatever the session knows', async (t) => {
  const world = await start(t)
  await openSession(world)
  t.match((await stepUp(world, { scope: 'openid transfer:funds' })).claims, { scope: 'transfer:funds' })
  for (const scope of ['openid transfer:funds', 'openid step_up']) {
    const { url } = await ask(world, { scope })
    t.equal(asks(pageOf(await world.browser.open(url))), 'answer', scope)
    url.searchParams.set('prompt', 'none')
    const refused = callbackOf(await world.browser.open(url))
    t.equal(refused.searchParams.get('error'), 'interaction_required')
    t.notOk(refused.searchParams.has('code'))
  }
})

t.test('a silent token for reading after a step-up tells the session\'s acr, and the level "normal"', async (t) => {
  const world = await start(t)
  await openSession(world)
  const high = await stepUp(world, { scope: 'openid transfer:funds' })
  world.clock.stepSeconds(60)
  const request = await ask(world, { scope: 'openid read:accounts', prompt: 'none' })
  const { claims } = await redeem(world, request, await world.browser.open(request.url))
  t.match(claims, { acr: mfa, amr: ['pwd', 'otp', 'mfa'], authentication_level: 'normal', scope: 'read:accounts' })
  t.equal(claims['auth_time'], high.claims['auth_time'], 'reading is no authentication')
})

t.test('no refresh token, whatever is asked for', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { tokens, claims } = await stepUp(world, { scope: 'openid offline_access transfer:funds' })
  t.notOk(tokens.refresh_token)
  t.equal(claims['scope'], 'transfer:funds')
})

t.test('RFC 8707: tokens are for the API only', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid read:accounts', resource: 'https://elsewhere.example' })
  t.equal(callbackOf(await world.browser.open(url)).searchParams.get('error'), 'invalid_target')
})

t.test('RFC 6238 §5.2: a code works once, and an older one never', async (t) => {
  const world = await start(t)
  await openSession(world)
  const older = world.codeOf(alice.totpSecret)
  world.clock.stepSeconds(30)
  const newer = world.codeOf(alice.totpSecret)
  await stepUp(world, { scope: 'openid transfer:funds' })
  const request = await ask(world, { scope: 'openid transfer:funds' })
  let page = pageOf(await world.browser.open(request.url))
  for (const used of [newer, older]) {
    page = pageOf(await world.browser.submit(page, { answer: used }))
    t.match(page, { status: 422, alert: codeAlreadyUsed })
  }
  world.clock.stepSeconds(30)
  const visit = await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) })
  t.match((await redeem(world, request, visit)).claims, { scope: 'transfer:funds' })
})

t.test('wrong codes are refused, and five of them lock the user for five minutes', async (t) => {
  const world = await start(t)
  await openSession(world)
  const request = await ask(world, { scope: 'openid transfer:funds' })
  let page = pageOf(await world.browser.open(request.url))
  const stale = new TOTP({ secret: alice.totpSecret }).generate({ timestamp: world.clock.nowMs() - 120_000 })
  for (const wrong of [stale, '', '12345', 'abcdef', '1234567']) {
    page = pageOf(await world.browser.submit(page, { answer: wrong }))
    t.match(page, { status: 422, alert: 'That code is not right.' }, wrong)
  }
  page = pageOf(await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) }))
  t.match(page, { status: 422, alert: 'Too many wrong codes. Try again in 300 seconds.' })
  world.clock.stepSeconds(300)
  callbackOf(await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) }))
})

t.test('failed sign-ins look the same for every name, and five of them lock it for five minutes', async (t) => {
  const world = await start(t)
  for (const username of ['alice', 'no one', '']) {
    const { url } = await ask(world, { scope: 'openid read:accounts' })
    let page = pageOf(await world.browser.open(url))
    for (const password of ['', 'wrong', 'a password of carol', ' ', 'A PASSWORD OF ALICE']) {
      page = pageOf(await world.browser.submit(page, { username, password }))
      t.match(page, { status: 422, alert: 'The user name or the password is not right.' })
    }
    page = pageOf(await world.browser.submit(page, { username, password: alice.password }))
    t.match(page, { status: 429, alert: 'Too many failed attempts. Try again in 300 seconds.' }, username)
  }
  world.clock.stepSeconds(300)
  await openSession(world)
})

t.test('guesses sent side by side do not outrun the limit', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid read:accounts' })
  const page = pageOf(await world.browser.open(url))
  const guesses = Array.from({ length: 12 }, (_, index) =>
    world.browser.submit(page, { username: 'alice', password: `guess ${index}` }),
  )
  const statuses = (await Promise.all(guesses)).map((visit) => pageOf(visit).status)
  t.equal(statuses.filter((status) => status === 422).length, 5)
  t.equal(statuses.filter((status) => status === 429).length, 7)
})

t.test('a user without a secret enrols at the first step-up, by QR code and by text', async (t) => {
  const world = await start(t)
  const request = await ask(world, { scope: 'openid transfer:funds' })
  const enrolment = pageOf(await signIn(world, pageOf(await world.browser.open(request.url)), carol))
  t.match(enrolment.html, /<div class="qr" role="img" aria-label="[^"]+"><svg/)
  const secretOn = (page: Page) => /id="totp-secret">([^<]+)</.exec(page.html)?.[1]?.replaceAll(' ', '') ?? ''
  const secret = secretOn(enrolment)
  t.match(secret, /^[A-Z2-7]{32}$/)

  const failed = pageOf(await world.browser.submit(enrolment, { answer: '000000' }))
  t.equal(secretOn(failed), secret, 'the same secret until it is confirmed')
  const otherRequest = await ask(world, { scope: 'openid transfer:funds' })
  t.not(secretOn(pageOf(await world.browser.open(otherRequest.url))), secret, 'another page shows another secret')

  const visit = await world.browser.submit(failed, { answer: world.codeOf(secret) })
  t.match((await redeem(world, request, visit)).claims, { sub: 'carol', acr: mfa, scope: 'transfer:funds' })

  const again = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(again.url))
  t.notMatch(page.html, 'totp-secret', 'enrolled once')
  t.match(await world.browser.submit(page, { answer: world.codeOf(secret) }), { page: { alert: codeAlreadyUsed } })
  world.clock.stepSeconds(30)
  callbackOf(await world.browser.submit(page, { answer: world.codeOf(secret) }))
})

t.test('the factor of one user says nothing about another one', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { tokens } = await stepUp(world, { scope: 'openid transfer:funds' })
  const carols = new HeadlessBrowser(world.issuer, callback)
  const first = await ask(world, { scope: 'openid read:accounts' })
  callbackOf(await carols.submit(pageOf(await carols.open(first.url)), carol))

  // The hint names alice while carol is signed in: alice's password first, and then her own second factor.
  const request = await ask(world, { scope: 'openid transfer:funds', id_token_hint: tokens.id_token ?? '' })
  const login = pageOf(await carols.open(request.url))
  t.equal(asks(login), 'username password')
  const signOut = pageOf(await carols.submit(login, { username: alice.username, password: alice.password }))
  const action = new URL(/action="([^"]+)"/.exec(signOut.html)?.[1] ?? '')
  const factor = pageOf(await carols.submit({ ...signOut, url: action }, {}))
  t.match(factor.html, 'signed in as alice')
  t.equal(asks(factor), 'answer')
})

t.test('RFC 9396: the user sees the payment, and the token holds it', async (t) => {
  const world = await start(t)
  await openSession(world)
  const details = JSON.stringify([payment])
  const { page, tokens, claims } = await stepUp(world, {
    scope: 'openid transfer:funds',
    authorization_details: details,
  })
  for (const line of ['Approve this payment', '25.00 EUR', 'DE89 3704 0044 0532 0130 00', 'Bob &lt;script&gt;'])
    t.match(page.html, line)
  t.strictSame(claims['authorization_details'], [payment])
  t.strictSame(tokens['authorization_details'], [payment])
})

t.test('RFC 9396: what the API says to ask for is taken as it is', async (t) => {
  const world = await start(t)
  await openSession(world)
  const asked = describePayment({
    debtorIban: 'AT611904300234573201',
    creditorIban: 'DE89370400440532013000',
    creditorName: 'Ærø & Bob',
    currency: 'EUR',
    amount: '12.5',
    amountMinorUnits: 1250n,
    remittanceInformation: 'Rent',
  })
  const { page, claims } = await stepUp(world, {
    scope: 'openid transfer:funds',
    authorization_details: JSON.stringify([asked]),
  })
  t.strictSame(Object.fromEntries(page.terms), {
    Amount: '12.5 EUR',
    To: 'DE89 3704 0044 0532 0130 00',
    Payee: 'Ærø & Bob',
    From: 'AT61 1904 3002 3457 3201',
    Reference: 'Rent',
  })
  t.strictSame(claims['authorization_details'], [asked])
})

for (const [name, details] of Object.entries({
  'no JSON': 'x',
  'another type': [{ type: 'account_information' }],
  'no amount': [{ type: payment.type, creditorAccount: payment.creditorAccount }],
  'an amount that is no string': [{ ...payment, instructedAmount: { currency: 'EUR', amount: 25 } }],
  'an unknown member': [{ ...payment, recurring: true }],
})) {
  t.test(`RFC 9396 §5: details with ${name} are refused`, async (t) => {
    const world = await start(t)
    const parameter = typeof details === 'string' ? details : JSON.stringify(details)
    const { url } = await ask(world, { scope: 'openid transfer:funds', authorization_details: parameter })
    t.equal(callbackOf(await world.browser.open(url)).searchParams.get('error'), 'invalid_authorization_details')
  })
}

t.test('the token endpoint takes no details that the user has not seen', async (t) => {
  const world = await start(t)
  await openSession(world)
  const request = await ask(world, { scope: 'openid transfer:funds', authorization_details: JSON.stringify([payment]) })
  const page = pageOf(await world.browser.open(request.url))
  const visit = await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) })
  const dearer = [{ ...payment, instructedAmount: { currency: 'EUR', amount: '2500.00' } }]
  const parameters = { authorization_details: JSON.stringify(dearer) }
  await t.rejects(client.authorizationCodeGrant(world.config, callbackOf(visit), request.checks, parameters), {
    cause: { error: 'invalid_authorization_details' },
  })
})

t.test('RFC 9449: a DPoP proof binds the token to its key, with which it moves money, once', async (t) => {
  const world = await start(t)
  await openSession(world)
  const request = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(request.url))
  const visit = await world.browser.submit(page, { answer: world.codeOf(alice.totpSecret) })
  const DPoP = client.getDPoPHandle(world.config, await client.randomDPoPKeyPair('ES256'))
  const tokens = await client.authorizationCodeGrant(world.config, callbackOf(visit), request.checks, undefined, {
    DPoP,
  })
  t.equal(tokens.token_type, 'dpop')
  const { payload } = await verify(world, tokens.access_token)
  t.match(payload, { cnf: { jkt: await DPoP.calculateThumbprint() }, authentication_level: 'mfa' })

  const changes = { AUDIENCE: resource, DPOP: 'require', DPOP_NONCE: 'on' }
  const api = await startServer(t, await bankEnvironment(t, world.issuer, changes))
  await untilReady(api)
  const transfer = (DPoP: client.DPoPHandle) => {
    const headers = new Headers({ 'content-type': 'application/json' })
    const body = JSON.stringify(transferBody())
    const address = new URL(`${api.url}/transfers`)
    return client.fetchProtectedResource(world.config, tokens.access_token, address, 'POST', body, headers, { DPoP })
  }
  const errorOf = async (sent: Promise<Response>) => {
    const { cause } = await sent.then(
      () => ({ cause: [] }),
      (error: client.WWWAuthenticateChallengeError) => error,
    )
    return cause.map(({ scheme, parameters }) => [scheme, parameters.error])
  }
  const thief = client.getDPoPHandle(world.config, await client.randomDPoPKeyPair('ES256'))
  t.strictSame(await errorOf(transfer(thief)), [['dpop', 'invalid_token']])
  t.equal((await transfer(DPoP)).status, 201, 'the client has repeated the request with the nonce')
  t.strictSame(await errorOf(transfer(DPoP)), [['dpop', 'invalid_token']])
})

t.test('cancelling a page tells the client', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { url } = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(url))
  const cancel: Page = { ...page, fields: new Map([...page.fields, ['action', '']]) }
  const refused = callbackOf(await world.browser.submit(cancel, { action: 'cancel' }))
  t.equal(refused.searchParams.get('error'), 'access_denied')
})

t.test('an interaction is finished once, by the browser that began it', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { url } = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(url))
  const stranger = new HeadlessBrowser(world.issuer, callback)
  const code = world.codeOf(alice.totpSecret)
  t.match(pageOf(await stranger.submit(page, { answer: code })), { status: 400, html: /expired/ })
  t.match(pageOf(await stranger.open(page.url)), { status: 400 })
  const resume = new URL(page.url.pathname.replace('interaction', 'auth'), page.url)
  t.equal(asks(pageOf(await world.browser.open(resume))), 'answer', 'resuming without an answer asks again')
})

t.test('a second click on the button does no harm', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid transfer:funds' })
  const cookies = new Map<string, string>()
  const send = async (target: string, form?: Record<string, string>) => {
    const cookie = [...cookies].map((pair) => pair.join('=')).join('; ')
    const post = form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }
    const response = await fetch(new URL(target, world.issuer), { redirect: 'manual', headers: { cookie }, ...post })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      cookies.set(name, value)
    }
    return response.headers.get('location') ?? `status ${response.status}`
  }
  const resume = await send(await send(url.href), { username: alice.username, password: alice.password })
  const page = await send(resume)
  const clicks = [await send(page, { answer: world.codeOf(alice.totpSecret) })]
  clicks.push(await send(page, { answer: world.codeOf(alice.totpSecret) }))
  t.match(clicks[0], /\/auth\/[\w-]+$/)
  t.equal(clicks[1], clicks[0])
  t.match(await send(clicks[0] ?? ''), /\/callback\?code=/)
  t.match(await send(clicks[0] ?? ''), 'status 400', 'and is resumed once')
})

t.test('forms from another site, of another type, or too large are refused', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid read:accounts' })
  const page = pageOf(await world.browser.open(url))
  const send = (headers: Record<string, string>, body = 'username=alice') =>
    fetch(page.url, { method: 'POST', redirect: 'manual', headers, body })
  const type = 'application/x-www-form-urlencoded'
  t.equal((await send({ 'content-type': type, origin: 'http://evil.example' })).status, 403)
  t.equal((await send({ 'content-type': type, origin: 'null' })).status, 403)
  t.equal((await send({ 'content-type': type, 'sec-fetch-site': 'cross-site' })).status, 403)
  t.equal((await send({ 'content-type': type, 'sec-fetch-site': 'same-site' })).status, 403)
  t.equal((await send({ 'content-type': 'application/json' }, '{}')).status, 415)
  t.equal((await send({ 'content-type': type }, `password=${'x'.repeat(5000)}`)).status, 413)
  const put = await fetch(page.url, { method: 'PUT' })
  t.equal(put.status, 405)
  t.equal(put.headers.get('allow'), 'GET, POST')
})

t.test('pages are plain, labelled, stored nowhere, and framed by no one', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid transfer:funds', login_hint: '"><script>' })
  const opened = await fetch(url, { redirect: 'manual' })
  const [cookie = ''] = opened.headers.getSetCookie()
  t.match(cookie, /_interaction=[^;]+; path=\/interaction\/[^;]+;.*samesite=lax; httponly/i)
  const response = await fetch(new URL(opened.headers.get('location') ?? '', url), {
    headers: {
      cookie: opened.headers
        .getSetCookie()
        .map((line) => line.split(';')[0])
        .join('; '),
    },
  })
  const html = await response.text()
  t.match(Object.fromEntries(response.headers), {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'same-origin',
    'content-security-policy':
      /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self' http:\/\/127\.0\.0\.1:9; base-uri 'none'; frame-ancestors 'none'$/,
  })
  t.match(html, /^<!doctype html>\n<html lang="en">/)
  t.match(html, /<title>Sign in · Stepgate Bank<\/title>/)
  t.match(html, /color-scheme: light dark/)
  t.match(html, 'A &lt;native&gt; app')
  t.notMatch(html, '<script')
  t.match(html, /<label for="username">[^<]+<\/label>\s*<input id="username"[^>]* autocomplete="username"/)
  t.match(html, /<label for="password">[^<]+<\/label>\s*<input id="password"[^>]* autocomplete="current-password"/)
})

t.test('an error is announced and tied to its field', async (t) => {
  const world = await start(t)
  await openSession(world)
  const { url } = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(url))
  t.match(page.html, /<input id="answer"[^>]* autocomplete="one-time-code"[^>]* aria-describedby="hint"/)
  const failed = pageOf(await world.browser.submit(page, { answer: '1' }))
  t.match(failed.html, /<title>Error: /)
  t.match(failed.html, /<p id="error" class="error" role="alert">/)
  t.match(failed.html, /aria-invalid="true" aria-describedby="error hint"/)
})

t.test('errors without a client to tell are pages too', async (t) => {
  const world = await start(t)
  const { url } = await ask(world, { scope: 'openid' })
  url.searchParams.set('redirect_uri', 'https://evil.example/callback')
  t.match(pageOf(await world.browser.open(url)), { status: 400, html: /<html lang="en">[\s\S]*invalid_redirect_uri/ })
  t.match(pageOf(await world.browser.open(new URL(`${world.issuer}/interaction/nothing`))), {
    status: 400,
    html: /Start again/,
  })
})

t.test('signing out ends the session', async (t) => {
  const world = await start(t)
  await openSession(world)
  const page = pageOf(await world.browser.open(new URL(`${world.issuer}/session/end`)))
  const action = new URL(/action="([^"]+)"/.exec(page.html)?.[1] ?? '')
  const confirm: Page = { ...page, url: action, fields: new Map([...page.fields, ['logout', 'yes']]) }
  t.match(pageOf(await world.browser.submit(confirm, {})).html, /Signed out/)
  const { url } = await ask(world, { scope: 'openid read:accounts' })
  t.equal(asks(pageOf(await world.browser.open(url))), 'username password')
})

t.test('a browser client may read the token endpoint from its registered origin only', async (t) => {
  const { issuer } = await start(t)
  const send = (origin: string) =>
    fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { origin },
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: 'web',
        code: 'x',
        code_verifier: 'x'.repeat(43),
        redirect_uri: 'https://bank.example/callback',
      }),
    })
  t.equal((await send('https://bank.example')).headers.get('access-control-allow-origin'), 'https://bank.example')
  t.notOk((await send('https://evil.example')).headers.get('access-control-allow-origin'))
})

t.test("the server answers to no name but its issuer's", async (t) => {
  const { issuer } = await start(t)
  const response = await fetch(`${issuer.replace('127.0.0.1', 'localhost')}/.well-known/openid-configuration`)
  t.equal(response.status, 421)
})

t.test('behind a proxy it goes by the address that it was given', async (t) => {
  const options = { port: 0, resource, users: [], clients: [] }
  const metadataOf = async (issuer: string, headers: Record<string, string>) => {
    const port = await findFreePort()
    const { close } = await startAuthorizationServer({ ...options, port, issuer })
    const { status, body } = await getMetadata(port, { host: new URL(issuer).host, ...headers })
    await close()
    return { status, addresses: new Set(body.match(/https?:\/\/[^/"]+(?=\/)/g)) }
  }
  const http = 'http://127.0.0.1:4000'
  const https = 'https://login.example.com'
  t.strictSame(await metadataOf(http, {}), { status: 200, addresses: new Set([http]) })
  t.strictSame(await metadataOf(http, { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' }), {
    status: 200,
    addresses: new Set([http]),
  })
  t.strictSame(await metadataOf(https, { 'x-forwarded-proto': 'https' }), { status: 200, addresses: new Set([https]) })
  t.equal((await metadataOf(https, {})).status, 421, 'a proxy that does not tell the scheme would get wrong links')
  for (const issuer of [
    'http://login.example.com',
    `${https}/`,
    `${https}/tenant`,
    'https://u@login.example.com',
    'x',
  ]) {
    await t.rejects(startAuthorizationServer({ ...options, issuer }), { name: 'RangeError' }, issuer)
  }
})

t.test('another second factor plugs in as one function', async (t) => {
  const secondFactor: SecondFactor = async ({ username, answer }) =>
    answer === `badge of ${username}`
      ? { outcome: 'passed', amr: ['hwk'] }
      : {
          outcome: 'ask',
          label: 'Badge',
          hint: 'Hold it to the reader.',
          input: { autocomplete: 'off', inputmode: 'text' },
        }
  const world = await start(t, { secondFactor })
  await openSession(world)
  const request = await ask(world, { scope: 'openid transfer:funds' })
  const page = pageOf(await world.browser.open(request.url))
  t.match(page.html, '<label for="answer">Badge</label>')
  const visit = await world.browser.submit(page, { answer: 'badge of alice' })
  t.match((await redeem(world, request, visit)).claims, { acr: mfa, amr: ['pwd', 'hwk', 'mfa'] })
})

t.test('starting is refused off loopback, on a taken port, and with a client that is wrong', async (t) => {
  const { issuer } = await start(t)
  const options = { port: 0, resource, users: [alice], clients: [] }
  await t.rejects(startAuthorizationServer({ ...options, host: '0.0.0.0' }), { name: 'RangeError' })
  await t.rejects(startAuthorizationServer({ ...options, port: Number(new URL(issuer).port) }), { code: 'EADDRINUSE' })
  await t.rejects(startAuthorizationServer({ ...options, clients: [{ client_id: 'x' }] }), {
    name: 'TypeError',
    message: /^client x: redirect_uris/,
  })
})

t.test('closing drops connections that are kept alive', async (t) => {
  const { issuer, close } = await start(t)
  await close()
  await t.rejects(fetch(issuer))
  await t.resolves(close(), 'twice is once')
})

t.test('the command line', async (t) => {
  const main = fileURLToPath(new URL('../../examples/authorization-server/main.js', import.meta.url))
  const run = (environment: Record<string, string>) => {
    const child = spawn(process.execPath, [main], { env: { ...process.env, ...environment } })
    t.teardown(() => child.kill())
    return child
  }

  t.test("starts, says where, and prints none of oidc-provider's notices", async (t) => {
    const child = run({ PORT: '0' })
    const errors = text(child.stderr)
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    t.match(
      String(line),
      /^authorization-server: http:\/\/127\.0\.0\.1:\d+, client stepgate-demo, tokens for http:\/\/127\.0\.0\.1:3000\n$/,
    )
    child.kill('SIGTERM')
    t.strictSame(await once(child, 'exit'), [0, null])
    t.equal(await errors, '')
  })

  t.test('names every fault on a line of its own', async (t) => {
    const child = run({
      PORT: '70000',
      HOST: '0.0.0.0',
      RESOURCE: 'x',
      REDIRECT_URIS: ' ',
      USERS_FILE: 'nothing',
      ISSUER: 'http://x',
    })
    const errors = text(child.stderr)
    t.strictSame(await once(child, 'exit'), [1, null])
    t.strictSame((await errors).trim().split('\n').sort(), [
      'authorization-server: HOST: must be a loopback address such as 127.0.0.1',
      'authorization-server: ISSUER: must be an origin with https, or http on loopback',
      'authorization-server: PORT: must be a port number',
      'authorization-server: REDIRECT_URIS: must name an address',
      'authorization-server: RESOURCE: must be the address of the API',
      'authorization-server: USERS_FILE: nothing cannot be read',
    ])
  })
})
