import { allowInsecureRequests, validateJwtAccessToken } from 'oauth4webapi'
import t, { type Test } from 'tap'
import { checkRefusal, refuseToken } from '../helpers/refusals.js'
import { acrMfa, balances, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey } from '../helpers/test-issuer.js'

const api = await startTestApi(t)
const { call, issuer, tokens } = api
const strong = (changes: Claims = {}): Claims =>
  tokens.claims({ scope: 'read:accounts transfer:funds', acr: acrMfa, ...changes })
const now = tokens.claims()['iat'] as number

async function accept(t: Test, token: string, label: string): Promise<void> {
  t.equal((await call('GET', '/accounts', { token })).status, 200, label)
}

t.test(
  'RFC 9068 §2.1: tokens are signed with an asymmetric algorithm, RS256 among them, and never with none',
  async (t) => {
    for (const key of Object.values(issuer.keys)) await accept(t, tokens.sign(tokens.claims(), {}, key), key.alg)
    const unsigned = tokens.sign(strong(), { alg: 'none' }).replace(/[^.]+$/, '')
    await refuseToken(t, api, unsigned, 'none')
  },
)

t.test('RFC 9068 §2.1, §4: typ is at+jwt or application/at+jwt, and another is refused', async (t) => {
  for (const typ of ['at+jwt', 'application/at+jwt', 'AT+JWT'])
    await accept(t, tokens.sign(tokens.claims(), { typ }), typ)
  for (const typ of [undefined, 'JWT', 'jwt']) await refuseToken(t, api, tokens.sign(strong(), { typ }), String(typ))
})

t.test('RFC 9068 §2.2: iss, exp, aud, sub, client_id and iat are required', async (t) => {
  for (const claim of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat']) {
    await refuseToken(t, api, tokens.sign(strong({ [claim]: undefined })), `no ${claim}`)
  }
})

t.test(
  'RFC 9068 §2.2: jti is required, and a transfer token without one is told to come back with a new one',
  async (t) => {
    const token = tokens.sign(strong({ jti: undefined }))
    await refuseToken(t, api, token, 'no jti', { transfer: [401, 'not-single-use'] })
    const { body } = await call('POST', '/transfers', { token, json: transferBody() })
    t.match(body, { error: 'invalid_token', scope: 'transfer:funds', acr_values: acrMfa, max_age: 300 })
  },
)

t.test('RFC 9068 §2.2: a transfer token that lives longer than the limit is not single use', async (t) => {
  const before = await balances(api)
  for (const [iat, exp] of [
    [now, now + 601],
    [now - 300, now + 301],
    [0, now + 60],
    [now, Number.MAX_SAFE_INTEGER],
  ]) {
    const answer = await call('POST', '/transfers', { token: tokens.sign(strong({ iat, exp })), json: transferBody() })
    checkRefusal(t, answer, [401, 'not-single-use'], `${iat} to ${exp}`)
  }
  t.strictSame(await balances(api), before)
  for (const [iat, exp] of [
    [now, now + 600],
    [now - 540, now + 60],
    [now + 5, now + 4],
  ]) {
    const answer = await call('POST', '/transfers', { token: tokens.sign(strong({ iat, exp })), json: transferBody() })
    t.equal(answer.status, 201, `${(exp as number) - (iat as number)} s`)
  }
})

t.test('RFC 9068 §2.2.1: acr, amr and auth_time are optional on a route without step-up', async (t) => {
  await accept(t, tokens.read({ acr: undefined, amr: undefined, auth_time: undefined }), 'none of them')
  await accept(t, tokens.read({ acr: 1, amr: 'x', auth_time: 'x' }), 'odd ones, which nobody asks for')
})

t.test('RFC 9068 §2.2.3, RFC 6749 §3.3: scope is one string of names between single spaces', async (t) => {
  await accept(t, tokens.read({ scope: 'openid read:accounts profile' }), 'among others')
  for (const scope of [['read:accounts'], 'read:accounts  x', ' read:accounts', 'read:accounts\tx', '']) {
    await refuseToken(t, api, tokens.sign(strong({ scope })), JSON.stringify(scope))
  }
})

t.test('RFC 9068 §4: a signature that does not hold, or by a key that the issuer does not publish', async (t) => {
  await refuseToken(t, api, tokens.sign(strong(), {}, makeKey('ES256')), 'an unpublished key')
  await refuseToken(t, api, tokens.sign(strong(), {}, makeKey('ES256', issuer.keys.ES256.kid)), 'a published name')
})

t.test('RFC 9068 §4: iss and aud are exactly ours, and exp lies ahead', async (t) => {
  await refuseToken(t, api, tokens.sign(strong({ iss: 'https://other.example.com' })), 'iss')
  await refuseToken(t, api, tokens.sign(strong({ aud: 'https://other.example.com' })), 'aud')
  const expired = [401, 'expired-token'] as const
  await refuseToken(t, api, tokens.sign(strong({ exp: now - 5 })), 'exp', { read: expired, transfer: expired })
})

t.test('RFC 9068 §5: an ID token of the same issuer and for the same client is no access token', async (t) => {
  const claims = strong({ aud: 'bank-web', client_id: undefined, azp: 'bank-web', nonce: 'x' })
  await refuseToken(t, api, tokens.sign(claims, { typ: 'JWT' }), 'as it is')
  await refuseToken(t, api, tokens.sign({ ...claims, aud: publicUrl }, { typ: 'JWT' }), 'even with our audience')
  await refuseToken(t, api, tokens.sign({ ...claims, aud: ['bank-web', publicUrl] }, { typ: 'JWT' }), 'among others')
})

t.test('another validator refuses what is refused here, and accepts what is accepted', async (t) => {
  const metadata = { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` }
  const { keys } = issuer
  const variants: [string, string][] = [
    ...Object.values(keys).map((key): [string, string] => [key.alg, tokens.sign(strong(), {}, key)]),
    ['a list as aud', tokens.sign(strong({ aud: [publicUrl, 'x'] }))],
    ['typ in full', tokens.sign(strong(), { typ: 'application/at+jwt' })],
    ['another typ', tokens.sign(strong(), { typ: 'JWT' })],
    ['another alg', tokens.sign(strong(), { alg: 'RS256' })],
    ['a stranger', tokens.sign(strong(), {}, makeKey('ES256', keys.ES256.kid))],
    ['crit', tokens.sign(strong(), { crit: ['x'], x: 1 })],
    ['another iss', tokens.sign(strong({ iss: `${issuer.url}/` }))],
    ['another aud', tokens.sign(strong({ aud: `${publicUrl}/` }))],
    ['expired', tokens.sign(strong({ exp: now - 3600 }))],
    ['not yet', tokens.sign(strong({ nbf: now + 3600 }))],
    ['no exp', tokens.sign(strong({ exp: undefined }))],
    ['no sub', tokens.sign(strong({ sub: undefined }))],
    ['no client_id', tokens.sign(strong({ client_id: undefined }))],
    ['no jti', tokens.sign(strong({ jti: undefined }))],
    ['exp as text', tokens.sign(strong({ exp: String(now + 60) }))],
    ['bound by cnf', tokens.sign(strong({ cnf: { jkt: 'x' } }))],
  ]
  for (const [name, token] of variants) {
    const request = new Request(`${publicUrl}/accounts`, { headers: { authorization: `Bearer ${token}` } })
    const theirs = await validateJwtAccessToken(metadata, request, publicUrl, { [allowInsecureRequests]: true }).then(
      () => 200,
      () => 401,
    )
    t.equal((await call('GET', '/accounts', { token })).status, theirs, `${name}: ${theirs}`)
  }
})
