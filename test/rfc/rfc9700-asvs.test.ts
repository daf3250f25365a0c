import { createHash } from 'node:crypto'
import t from 'tap'
import { checkRefusal, type Expected, refuseToken } from '../helpers/refusals.js'
import { acrMfa, balances, ibans, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const api = await startTestApi(t, { issuer })
const { call, tokens } = api
const strong = (changes: Claims = {}): Claims =>
  tokens.claims({ scope: 'read:accounts transfer:funds', acr: acrMfa, ...changes })
const invalid: Expected = [401, 'invalid-token']

/** Everything that an access token opens, as method and path. */
async function protectedRoutes(): Promise<[method: string, path: string][]> {
  const { body } = await call('GET', '/openapi.json')
  const operations = Object.entries(body['paths'] as Record<string, Record<string, { security?: object[] }>>).flatMap(
    ([path, methods]) => Object.entries(methods).map(([method, { security }]) => ({ path, method, security })),
  )
  return operations
    .filter(({ security }) => security !== undefined && security.length > 0)
    .map(({ path, method }) => [method.toUpperCase(), path.replaceAll(/\{\w+\}/g, 'x')])
}

t.test('9700-2.3-1 (RFC 9700 §2.3): no route serves a token that is meant for another resource server', async (t) => {
  const routes = await protectedRoutes()
  t.ok(routes.length >= 5, `${routes.length} routes`)
  for (const [method, path] of routes) {
    for (const aud of ['https://other.example.com', ['https://other.example.com', 'https://third.example.com']]) {
      const json = method === 'POST' ? { json: transferBody() } : {}
      const answer = await call(method, path, { token: tokens.sign(strong({ aud })), ...json })
      checkRefusal(t, answer, invalid, `${method} ${path}`)
    }
  }
})

t.test('9700-2.3-2 (RFC 9700 §2.3): each action takes its own scope, and no other stands in for it', async (t) => {
  const before = await balances(api)
  const transfer = { token: tokens.transfer({ scope: 'transfer:funds' }) }
  for (const [method, path] of await protectedRoutes()) {
    if (method === 'POST') {
      const answer = await call(method, path, { token: tokens.read({ acr: acrMfa }), json: transferBody() })
      checkRefusal(t, answer, [403, 'step-up-required'], path)
    } else checkRefusal(t, await call(method, path, transfer), [403, 'insufficient-scope'], path)
  }
  t.strictSame(await balances(api), before)
})

t.test('ASVS-9.1.1 (OWASP ASVS 9.1.1): claims that were changed after signing are not believed', async (t) => {
  const [header, payload, signature] = tokens.transfer({ sub: 'bob' }).split('.') as [string, string, string]
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const changes: Claims[] = [{ sub: 'alice' }, { exp: claims.exp + 3600 }, { scope: '*' }, { jti: 'another' }, {}]
  for (const change of changes) {
    // Even with nothing changed but the order of members, since the signature is over the text.
    const changed = JSON.stringify({ added: 1, ...claims, ...change })
    const token = `${header}.${Buffer.from(changed).toString('base64url')}.${signature}`
    await refuseToken(t, api, token, JSON.stringify(change))
  }
  t.equal((await call('GET', '/accounts', { token: `${header}.${payload}.${signature}` })).status, 200, 'unchanged')
})

t.test('ASVS-9.2.2 (OWASP ASVS 9.2.2): an ID token authorises nothing, and an access token all it says', async (t) => {
  const at_hash = createHash('sha256').update('x').digest('base64url')
  for (const claims of [{ nonce: 'x', at_hash }, { azp: 'bank-web' }, { sid: 'x' }])
    await refuseToken(t, api, tokens.sign(strong(claims), { typ: 'JWT' }), `ID token with ${Object.keys(claims)}`)
  t.equal((await call('POST', '/transfers', { token: tokens.sign(strong()), json: transferBody() })).status, 201)
})

t.test('ASVS-9.2.3 (OWASP ASVS 9.2.3): the audience that counts is the one that is configured', async (t) => {
  const other = await startTestApi(t, { issuer, environment: { AUDIENCE: 'urn:bank:payments' } })
  const both = tokens.read({ aud: [publicUrl, 'urn:bank:payments'] })
  for (const { call } of [api, other]) t.equal((await call('GET', '/accounts', { token: both })).status, 200)
  await refuseToken(t, api, other.tokens.transfer(), 'for the other one')
  await refuseToken(t, other, tokens.transfer(), 'for this one, though its address is the same')
})

t.test('ASVS-10.3.1 (OWASP ASVS 10.3.1): an audience that only resembles ours is not ours', async (t) => {
  const { hostname } = new URL(publicUrl)
  for (const aud of [hostname, `${publicUrl}/`, `${publicUrl}:443`, `https://x.${hostname}`, `x ${publicUrl}`])
    await refuseToken(t, api, tokens.sign(strong({ aud })), aud)
})

t.test('ASVS-10.3.2 (OWASP ASVS 10.3.2): sub, scope and authorization_details all decide', async (t) => {
  const before = await balances(api)
  const pay = (changes: Claims) => call('POST', '/transfers', { token: tokens.transfer(changes), json: transferBody() })
  const detail = { type: 'payment_initiation', instructedAmount: { currency: 'EUR', amount: '1.00' } }
  checkRefusal(t, await pay({ sub: 'bob' }), [404, 'not-found'], 'the debtor is not bob')
  checkRefusal(t, await pay({ scope: 'read:accounts' }), [403, 'step-up-required'])
  checkRefusal(t, await pay({ authorization_details: [detail] }), [403, 'transaction-not-authorized'])
  t.strictSame(await balances(api), before)
  t.equal((await pay({})).status, 201)
})

t.test('ASVS-10.3.3 (OWASP ASVS 10.3.3): a user is a subject of one issuer, and of no other', async (t) => {
  const foreign = await startTestApi(t, { ledger: () => api.ledger })
  const [ours, theirs] = await Promise.all(
    [api, foreign].map((target) => target.call('GET', '/accounts', { token: target.tokens.read({ sub: 'alice' }) })),
  )
  t.match(JSON.stringify(ours?.body), ibans.alice)
  t.strictSame([theirs?.status, theirs?.body], [200, { accounts: [] }])
  const token = foreign.tokens.transfer({ sub: 'alice' })
  checkRefusal(t, await foreign.call('POST', '/transfers', { token, json: transferBody() }), [404, 'not-found'])
  const named = tokens.read({ sub: 'mallory', client_id: 'alice', email: 'alice', preferred_username: 'alice' })
  t.strictSame((await call('GET', '/accounts', { token: named })).body, { accounts: [] }, 'nor any other claim')
})
