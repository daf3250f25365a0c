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

t.test('9068-2.1-3 (RFC 9068 §2.1): RS256 is among the algorithms', async (t) => {
  await accept(t, tokens.sign(tokens.claims(), {}, issuer.keys.RS256), 'without any configuration')
})

t.test('9068-4-8 (RFC 9068 §4): none is refused, in any spelling, with whatever signature', async (t) => {
  for (const alg of ['none', 'None', 'NONE']) {
    const signed = tokens.sign(strong(), { alg })
    for (const token of [signed, signed.replace(/[^.]+$/, ''), signed.replace(/[^.]+$/, 'AA')])
      await refuseToken(t, api, token, alg)
  }
})

t.test('9068-4-2 (RFC 9068 §4): typ is at+jwt or application/at+jwt, and another is refused', async (t) => {
  for (const typ of ['at+jwt', 'application/at+jwt', 'AT+JWT'])
    await accept(t, tokens.sign(tokens.claims(), { typ }), typ)
  for (const typ of [undefined, 'JWT', 'jwt']) await refuseToken(t, api, tokens.sign(strong(), { typ }), String(typ))
})

for (const [index, claim] of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat'].entries()) {
  t.test(`9068-2.2-${index + 1} (RFC 9068 §2.2): ${claim} is required`, async (t) => {
    await refuseToken(t, api, tokens.sign(strong({ [claim]: undefined })), `no ${claim}`)
    await refuseToken(t, api, tokens.sign(strong({ [claim]: null })), `${claim} null`)
  })
}

t.test(
  '9068-2.2-7 (RFC 9068 §2.2): jti is required, and a transfer token without one is told to come back with a new one',
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

t.test('9068-4-7 (RFC 9068 §4): the signature holds, by the algorithm that alg names', async (t) => {
  for (const key of Object.values(issuer.keys)) {
    const [head, , signature] = tokens.sign(tokens.claims(), {}, key).split('.')
    const [, payload] = tokens.sign(strong(), {}, key).split('.')
    await refuseToken(t, api, `${head}.${payload}.${signature}`, `${key.alg}, of another token`)
    await refuseToken(t, api, tokens.sign(strong(), {}, makeKey(key.alg, key.kid)), `${key.alg}, by another key`)
  }
  await refuseToken(t, api, tokens.sign(strong(), { alg: 'PS256' }, issuer.keys.RS256), 'alg names another')
})

t.test('9068-4-9 (RFC 9068 §4): keys are those that the issuer publishes', async (t) => {
  await refuseToken(t, api, tokens.sign(strong(), {}, makeKey('ES256')), 'an unpublished key')
  await accept(t, tokens.sign(tokens.claims(), {}, issuer.keys.ES256), 'a published one')
})

t.test('9068-4-6 (RFC 9068 §4): a token for another resource of the same issuer is refused', async (t) => {
  for (const aud of ['https://other.example.com', ['https://other.example.com', 'bank-web'], `${publicUrl}/accounts`])
    await refuseToken(t, api, tokens.sign(strong({ aud })), String(aud))
})

t.test('9068-4-11 (RFC 9068 §4): errors are those of RFC 6750 §3.1', async (t) => {
  const answers = [
    [{ headers: { authorization: 'Bearer' } }, 400, 'invalid_request'],
    [{ token: tokens.read({ aud: 'x' }) }, 401, 'invalid_token'],
    [{ token: tokens.read({ scope: 'x' }) }, 403, 'insufficient_scope'],
    [{}, 401, undefined],
  ] as const
  for (const [options, status, error] of answers) {
    const answer = await call('GET', '/accounts', options)
    t.strictSame([answer.status, answer.body['error']], [status, error])
    t.equal(/ error="(\w+)"/.exec(answer.challenge ?? '')?.[1], error)
  }
})

t.test('9068-4-12 (RFC 9068 §4): whatever check fails, the error is invalid_token', async (t) => {
  const failing: [string, string][] = [
    ['typ', tokens.sign(strong(), { typ: 'JWT' })],
    ['iss', tokens.sign(strong({ iss: 'https://other.example.com' }))],
    ['aud', tokens.sign(strong({ aud: 'https://other.example.com' }))],
    ['signature', tokens.sign(strong(), {}, makeKey('ES256', issuer.keys.ES256.kid))],
    ['alg', tokens.sign(strong(), { alg: 'none' })],
    ['exp', tokens.sign(strong({ exp: now - 5 }))],
  ]
  for (const [check, token] of failing) {
    const { status, challenge, body } = await call('GET', '/accounts', { token })
    t.strictSame([status, body['error']], [401, 'invalid_token'], check)
    t.match(challenge, 'error="invalid_token"', check)
  }
})

t.test('8725-2.8-1 (RFC 8725 §2.8): an ID token of the same issuer and client is no access token', async (t) => {
  const claims = strong({ aud: 'bank-web', client_id: undefined, azp: 'bank-web', nonce: 'x' })
  await refuseToken(t, api, tokens.sign(claims, { typ: 'JWT' }), 'as it is')
  await refuseToken(t, api, tokens.sign({ ...claims, aud: publicUrl }, { typ: 'JWT' }), 'even with our audience')
  await refuseToken(t, api, tokens.sign({ ...claims, aud: ['bank-web', publicUrl] }, { typ: 'JWT' }), 'among others')
})

t.test('9068-4-1 (RFC 9068 §4): another validator refuses and accepts what is refused and accepted here', async (t) => {
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
  let accepted = 0
  for (const [name, token] of variants) {
    const request = new Request(`${publicUrl}/accounts`, { headers: { authorization: `Bearer ${token}` } })
    const theirs = await validateJwtAccessToken(metadata, request, publicUrl, { [allowInsecureRequests]: true }).then(
      () => 200,
      () => 401,
    )
    t.equal((await call('GET', '/accounts', { token })).status, theirs, `${name}: ${theirs}`)
    if (theirs === 200) accepted += 1
  }
  t.equal(accepted, 6, 'the algorithms, the list and the typ in full')
})
