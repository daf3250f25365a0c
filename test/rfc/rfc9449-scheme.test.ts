import t, { type Test } from 'tap'
import type { ProblemName } from '#src/core/problems.js'
import { parseChallenge } from '../helpers/challenges.js'
import { ProofMaker, type ProofRequest } from '../helpers/dpop.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { type Answer, balances, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const clock = new ManualClock()
const api = await startTestApi(t, { issuer, clock })
const { call, port, tokens } = api
const client = new ProofMaker(clock)
const thief = new ProofMaker(clock)

/** A request for the accounts with a token that is bound to the client's key. */
function toAccounts(): ProofRequest {
  return { method: 'GET', path: '/accounts', token: tokens.read(client.binding) }
}

function refuse(t: Test, answer: Answer, problem: ProblemName, label: string = problem): void {
  checkRefusal(t, answer, [401, problem], label)
}

/** The error on each line of a challenge, by scheme. */
function errorsOf({ challenges }: Answer): Record<string, string | undefined> {
  return Object.fromEntries(
    challenges.map((line) => {
      const { scheme, parameters } = parseChallenge(line)
      return [scheme, new Map(parameters).get('error')]
    }),
  )
}

t.test('9449-6-1 (RFC 9449 §6): a bound token is known as one, whatever DPoP is set to', async (t) => {
  for (const DPOP of ['off', 'accept', 'require']) {
    const { call } = await startTestApi(t, { issuer, clock, environment: { DPOP } })
    const request = toAccounts()
    for (const dpop of [undefined, client.prove(request)]) {
      const { status } = await call('GET', '/accounts', { token: request.token, headers: dpop ? { dpop } : {} })
      t.equal(status, 401, `${DPOP}, as a bearer token`)
    }
  }
})

t.test('9449-7.1-1 (RFC 9449 §7.1): proof, its validity and its key are all checked', async (t) => {
  const request = toAccounts()
  const get = (headers: Record<string, string>) => call('GET', '/accounts', { headers })
  const authorization = `DPoP ${request.token}`
  refuse(t, await get({ authorization }), 'invalid-dpop-proof', 'no proof')
  refuse(t, await get({ authorization, dpop: client.prove(request, { htm: 'POST' }) }), 'invalid-dpop-proof')
  refuse(t, await get({ authorization, dpop: thief.prove(request) }), 'dpop-key-mismatch')
  t.equal((await get({ authorization, dpop: client.prove(request) })).status, 200)
})

t.test('9449-7.1-2 (RFC 9449 §7.1): one check that fails is enough, and nothing moves', async (t) => {
  const before = await balances(api)
  const request = { method: 'POST', path: '/transfers', token: tokens.transfer(client.binding) }
  const post = (dpop: string) =>
    call('POST', '/transfers', { headers: { authorization: `DPoP ${request.token}`, dpop }, json: transferBody() })
  const claims: Claims[] = [
    { jti: undefined },
    { htm: 'GET' },
    { htu: `${publicUrl}/accounts` },
    { iat: clock.nowSeconds - 61 },
    { ath: 'x' },
  ]
  for (const change of claims)
    refuse(t, await post(client.prove(request, change)), 'invalid-dpop-proof', Object.keys(change)[0])
  const forged = client.sign(client.claims(request), {}, makeKey('ES256'))
  for (const [name, proof] of [
    ['typ', client.sign(client.claims(request), { typ: 'JWT' })],
    ['alg', client.sign(client.claims(request), { alg: 'none' })],
    ['signature', forged],
  ] as const)
    refuse(t, await post(proof), 'invalid-dpop-proof', name)
  refuse(t, await post(thief.prove(request)), 'dpop-key-mismatch')
  t.strictSame(await balances(api), before)
  t.equal((await post(client.prove(request))).status, 201, 'and the token was not used up')
})

t.test('9449-7.1-6 (RFC 9449 §7.1): the scheme is not read from, nor asked for in, fields of proxies', async (t) => {
  const request = toAccounts()
  const fields = [`Proxy-Authorization: DPoP ${request.token}`, `DPoP: ${client.prove(request)}`]
  const answer = await exchangeOne(port, rawRequest('GET', '/accounts', fields))
  checkRefusal(t, answer, [401, 'missing-token'])
  t.notOk(answer.headers.has('proxy-authenticate'))
})

t.test('9449-7.2-2 (RFC 9449 §7.2): who shows nothing gets both challenges, and no error', async (t) => {
  for (const headers of [{}, { authorization: 'Basic x' }, { dpop: client.prove(toAccounts()) }]) {
    const answer = await call('GET', '/accounts', { headers })
    refuse(t, answer, 'missing-token')
    t.strictSame(errorsOf(answer), { Bearer: undefined, DPoP: undefined })
  }
})

t.test('9449-7.2-3 (RFC 9449 §7.2): the error stands on the line of the scheme that was used', async (t) => {
  const bearer = await call('GET', '/accounts', { token: tokens.read({ aud: 'x' }) })
  t.strictSame(errorsOf(bearer), { Bearer: 'invalid_token', DPoP: undefined })
  const request = { ...toAccounts(), token: tokens.read({ ...client.binding, aud: 'x' }) }
  const dpop = await call('GET', '/accounts', { headers: client.headers(request) })
  t.strictSame(errorsOf(dpop), { Bearer: undefined, DPoP: 'invalid_token' })
})

t.test('9449-11.1-1 (RFC 9449 §11.1): a proof can be used for a minute after it was made', async (t) => {
  const later = new ManualClock()
  const { call, tokens } = await startTestApi(t, { issuer, clock: later })
  const slow = new ProofMaker(later)
  const request = { ...toAccounts(), token: tokens.read(slow.binding) }
  const [early, late] = [slow.headers(request), slow.headers(request)]
  later.advance(60_000)
  t.equal((await call('GET', '/accounts', { headers: early })).status, 200)
  later.advance(1000)
  refuse(t, await call('GET', '/accounts', { headers: late }), 'invalid-dpop-proof')
})

t.test('9449-11.5-1 (RFC 9449 §11.5): what the key signed for another purpose is no proof', async (t) => {
  const request = toAccounts()
  const authorization = `DPoP ${request.token}`
  for (const typ of ['JWT', 'client-authentication+jwt', 'oauth-authz-req+jwt', 'at+jwt', 'application/dpop+jwt']) {
    const dpop = client.sign(client.claims(request), { typ })
    refuse(t, await call('GET', '/accounts', { headers: { authorization, dpop } }), 'invalid-dpop-proof', typ)
  }
  const itself = { authorization, dpop: request.token }
  refuse(t, await call('GET', '/accounts', { headers: itself }), 'invalid-dpop-proof', 'the access token itself')
})

t.test('9700-2.2.1-1 (RFC 9700 §2.2.1): a stolen token is worth nothing without its key', async (t) => {
  const before = await balances(api)
  const token = tokens.transfer(client.binding)
  const captured = client.prove({ method: 'GET', path: '/accounts', token })
  const authorization = `DPoP ${token}`
  t.equal((await call('GET', '/accounts', { headers: { authorization, dpop: captured } })).status, 200)
  const toTransfers = { method: 'POST', path: '/transfers', token }
  const uses: [string, Record<string, string>][] = [
    ['as a bearer token', { authorization: `Bearer ${token}` }],
    ['with a key of the thief', { authorization, dpop: thief.prove(toTransfers) }],
    ['with the proof that was captured', { authorization, dpop: captured }],
    ['without proof', { authorization }],
  ]
  for (const [name, headers] of uses)
    t.equal((await call('POST', '/transfers', { headers, json: transferBody() })).status, 401, name)
  t.strictSame(await balances(api), before)
  const own = client.headers(toTransfers)
  t.equal(
    (await call('POST', '/transfers', { headers: own, json: transferBody() })).status,
    201,
    'it was good all along',
  )
})

t.test('ASVS-10.3.5 (OWASP ASVS 10.3.5): DPOP=require takes no token without proof', async (t) => {
  const { call, tokens } = await startTestApi(t, { issuer, clock, environment: { DPOP: 'require' } })
  const request = toAccounts()
  for (const token of [tokens.read(), tokens.transfer(), request.token, 'x'])
    refuse(t, await call('GET', '/accounts', { token }), 'dpop-required')
  const unbound = { ...request, token: tokens.read() }
  refuse(t, await call('GET', '/accounts', { headers: client.headers(unbound) }), 'dpop-key-mismatch')
  t.equal((await call('GET', '/accounts', { headers: client.headers(request) })).status, 200)
})
