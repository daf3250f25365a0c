import t from 'tap'
import { parseChallenge } from '../helpers/challenges.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { acrMfa, balances, type CallOptions, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const api = await startTestApi(t, { issuer })
const { call, clock, tokens } = api
const tooWeak: Expected = [401, 'insufficient-user-authentication']
const stepUp: Expected = [403, 'step-up-required']

function post(changes: Claims, target: TestApi = api) {
  const token = target.tokens.transfer(changes)
  return target.call('POST', '/transfers', { token, json: transferBody() })
}

function parametersOf(challenge: string | null): Record<string, string> {
  return Object.fromEntries(parseChallenge(challenge ?? '').parameters)
}

t.test(
  'RFC 9470 §3: without the high-value scope the answer says what to ask the authorization server for',
  async (t) => {
    const answer = await call('POST', '/transfers', { token: tokens.read(), json: transferBody() })
    checkRefusal(t, answer, stepUp)
    const { scope, acr_values, max_age } = parametersOf(answer.challenge)
    t.strictSame({ scope, acr_values, max_age }, { scope: 'transfer:funds', acr_values: acrMfa, max_age: '300' })
    t.match(answer.body, { scope, acr_values, max_age: 300 })

    const granted = { scope: `read:accounts ${scope}`, acr: acr_values, auth_time: clock.nowSeconds }
    t.equal((await post(granted)).status, 201, 'a token that has just that is let in')
  },
)

t.test('9470-3-1 (RFC 9470 §3): scope without authentication is insufficient_user_authentication', async (t) => {
  const before = await balances(api)
  const odd: unknown[] = [undefined, null, '', 'urn:stepgate:acr:pwd', `${acrMfa} `, acrMfa.toUpperCase(), 0, true, {}]
  // The last letter of the look-alike is Cyrillic.
  for (const acr of [
    ...odd,
    acrMfa.replace('mfa', 'mf\u0430'),
    [acrMfa],
    [[acrMfa]],
    { value: acrMfa },
    `${acrMfa} urn:stepgate:acr:pwd`,
  ]) {
    const answer = await post({ acr })
    checkRefusal(t, answer, tooWeak, `acr ${JSON.stringify(acr)}`)
    t.match(parametersOf(answer.challenge), {
      error: tooWeak[1].replaceAll('-', '_'),
      acr_values: acrMfa,
      max_age: '300',
    })
  }
  t.strictSame(await balances(api), before)
})

t.test('9470-6.1-1 (RFC 9470 §6.1): an authentication too old, or of which the time is not known', async (t) => {
  const now = clock.nowSeconds
  const odd: unknown[] = [undefined, null, '', String(now), now + 0.5, now * 1000, -now, 0, true, {}, [], [now], '1e9']
  for (const auth_time of [...odd, now - 302, now + 7, Number.MAX_SAFE_INTEGER]) {
    checkRefusal(t, await post({ auth_time }), tooWeak, `auth_time ${JSON.stringify(auth_time)}`)
  }
  for (const auth_time of [now, now - 299, now + 5])
    t.equal((await post({ auth_time })).status, 201, `${auth_time - now} s`)
})

t.test('9470-3-3 (RFC 9470 §3): max_age counts to the millisecond, and leeway does not stretch it', async (t) => {
  const auth_time = clock.nowSeconds
  clock.advance((auth_time + 300) * 1000 - clock.nowMs())
  const later = { auth_time, iat: clock.nowSeconds, exp: clock.nowSeconds + 60 }
  t.equal((await post(later)).status, 201, 'exactly 300 s old')
  clock.advance(1)
  checkRefusal(t, await post(later), tooWeak, 'a millisecond older')
})

t.test('9470-3-2 (RFC 9470 §3): acr_values keeps the order of preference, and one of them is enough', async (t) => {
  const environment = { STEP_UP_ACR_VALUES: 'gold silver bronze', STEP_UP_MAX_AGE: '' }
  const ranked = await startTestApi(t, { issuer, environment, clock })
  const refused = await post({ acr: 'gold silver' }, ranked)
  checkRefusal(t, refused, tooWeak)
  t.equal(parametersOf(refused.challenge)['acr_values'], 'gold silver bronze')
  for (const acr of ['gold', 'silver', 'bronze']) t.equal((await post({ acr }, ranked)).status, 201, acr)
})

t.test('9470-3-4 (RFC 9470 §3): max_age is a whole number of seconds, 0 too, and a number in the body', async (t) => {
  for (const seconds of [0, 300, 86_400]) {
    const environment = { STEP_UP_MAX_AGE: String(seconds) }
    const other = await startTestApi(t, { issuer, environment, clock })
    const { challenge, body } = await post({ auth_time: 0 }, other)
    t.strictSame([parametersOf(challenge)['max_age'], body['max_age']], [String(seconds), seconds])
  }
})

t.test('9470-9-2 (RFC 9470 §9): who has not shown a token is not told of authentication requirements', async (t) => {
  const forged = tokens.sign(tokens.claims(), {}, makeKey('ES256', issuer.keys.ES256.kid))
  const unauthenticated: [string, CallOptions, string[]][] = [
    ['no token', {}, ['Bearer', 'DPoP']],
    ['another scheme', { headers: { authorization: 'Basic x' } }, ['Bearer', 'DPoP']],
    ['no JWT', { token: 'x' }, ['Bearer', 'DPoP']],
    ['a forged token', { token: forged }, ['Bearer', 'DPoP']],
    ['an expired token', { token: tokens.transfer({ exp: 1 }) }, ['Bearer', 'DPoP']],
    ['a malformed field', { headers: { authorization: 'Bearer' } }, ['Bearer']],
    ['no JWT, by DPoP', { headers: { authorization: 'DPoP x', dpop: 'x' } }, ['Bearer', 'DPoP']],
    ['a malformed field of DPoP', { headers: { authorization: 'DPoP' } }, ['DPoP']],
  ]
  for (const [name, options, schemes] of unauthenticated) {
    const { challenges, body } = await call('POST', '/transfers', { ...options, json: transferBody() })
    const lines = challenges.map(parseChallenge)
    t.strictSame(
      lines.map(({ scheme }) => scheme),
      schemes,
      name,
    )
    for (const members of [body, ...lines.map(({ parameters }) => Object.fromEntries(parameters))]) {
      t.notOk('acr_values' in members || 'max_age' in members, `${name}: ${JSON.stringify(members)}`)
    }
  }
})

t.test(
  'the checks come in their order: token, scope, lifetime and jti, authentication, body, transaction',
  async (t) => {
    const weak = { acr: 'x', auth_time: 0 }
    const bound = { authorization_details: [] }
    const long = { exp: clock.nowSeconds + 3600 }
    const all = { ...weak, ...bound, ...long }
    const cases: [string, Claims, unknown, Expected][] = [
      ['token first', { ...all, aud: 'x', scope: 'x' }, '{', [401, 'invalid-token']],
      ['expiry before scope', { ...all, exp: 1, scope: 'x' }, '{', [401, 'expired-token']],
      ['scope before lifetime', { ...all, scope: 'x' }, '{', stepUp],
      ['scope before jti', { ...all, scope: 'x', jti: undefined }, '{', stepUp],
      ['lifetime before authentication', all, '{', [401, 'not-single-use']],
      ['jti before authentication', { ...weak, ...bound, jti: undefined }, '{', [401, 'not-single-use']],
      ['authentication before body', { ...weak, ...bound }, '{', tooWeak],
      ['body before transaction', bound, '{', [400, 'invalid-input']],
      ['transaction before idempotency', bound, transferBody(), [403, 'transaction-not-authorized']],
      ['idempotency before consumption', {}, transferBody(), [400, 'invalid-idempotency-key']],
    ]
    for (const [name, claims, json, expected] of cases) {
      const token = tokens.transfer(claims)
      const answer = await call('POST', '/transfers', { token, json, headers: { 'idempotency-key': ',' } })
      checkRefusal(t, answer, expected, name)
    }
  },
)

t.test('RFC 9470 §4: whatever the refusal, a token with just what its challenge asks for is enough', async (t) => {
  const spent = tokens.transfer()
  t.equal((await call('POST', '/transfers', { token: spent, json: transferBody() })).status, 201)
  const stale = { auth_time: clock.nowSeconds - 3600 }
  const other = { authorization_details: [{ type: 'payment_initiation' }] }
  const refused: [string, string][] = [
    ['no scope', tokens.read()],
    ['no scope, weak and stale', tokens.read({ acr: 'x', ...stale })],
    ['no scope, for another payment', tokens.read(other)],
    ['weak', tokens.transfer({ acr: 'x' })],
    ['stale', tokens.transfer(stale)],
    ['weak and stale', tokens.transfer({ acr: undefined, auth_time: undefined })],
    ['spent', spent],
    ['no jti', tokens.transfer({ jti: undefined })],
    ['too long-lived, weak and stale', tokens.transfer({ exp: clock.nowSeconds + 9999, acr: 'x', ...stale })],
    ['for another payment', tokens.transfer(other)],
  ]
  for (const [name, token] of refused) {
    const answer = await call('POST', '/transfers', { token, json: transferBody() })
    t.ok([401, 403].includes(answer.status), name)
    const { scope, acr_values = '', max_age } = parametersOf(answer.challenge)
    const { authorization_details } = answer.body
    const granted = { scope, acr: acr_values.split(' ')[0], auth_time: clock.nowSeconds - Number(max_age) + 60 }
    const next = tokens.sign(
      tokens.claims({ ...granted, ...(authorization_details === undefined ? {} : { authorization_details }) }),
    )
    t.equal((await call('POST', '/transfers', { token: next, json: transferBody() })).status, 201, name)
  }
})

t.test('a strong acr alone authorises nothing, and a weak one does not keep anybody from reading', async (t) => {
  const strongReader = tokens.read({ acr: acrMfa, amr: ['otp', 'mfa'] })
  checkRefusal(t, await call('POST', '/transfers', { token: strongReader, json: transferBody() }), stepUp)
  const weakReader = tokens.read({ acr: undefined, auth_time: undefined })
  t.equal((await call('GET', '/accounts', { token: weakReader })).status, 200)
})

t.test('ASVS-10.3.4 (OWASP ASVS 10.3.4): each way to show strong authentication is enough', async (t) => {
  const none = { STEP_UP_ACR_VALUES: '', STEP_UP_MAX_AGE: '' }
  const weak = { acr: 'weak', amr: ['pwd'], auth_time: undefined, level: 'pwd' }
  const cases: [string, Record<string, string>, Claims[], Claims[], Record<string, string>][] = [
    ['nothing required', none, [weak], [], {}],
    [
      'one acr of two',
      { ...none, STEP_UP_ACR_VALUES: 'b a' },
      [{ acr: 'a' }, { acr: 'b' }],
      [weak, { acr: 'b a' }],
      { acr_values: 'b a' },
    ],
    [
      'amr',
      { ...none, STEP_UP_AMR: 'otp hwk' },
      [
        { ...weak, amr: ['pwd', 'otp'] },
        { ...weak, amr: ['hwk'] },
      ],
      [
        weak,
        { amr: undefined },
        { amr: 'otp' },
        { amr: [] },
        { amr: [['otp']] },
        { amr: ['otp', 1] },
        { amr: { 0: 'otp' } },
        { amr: [null] },
      ],
      {},
    ],
    [
      "an issuer's own claim",
      { ...none, STEP_UP_CLAIM: 'level=mfa' },
      [{ ...weak, level: 'mfa' }],
      [weak, { level: undefined }, { level: ['mfa'] }, { level: 'MFA' }, { level: true }],
      {},
    ],
    [
      'any of three',
      { ...none, STEP_UP_ACR_VALUES: 'a', STEP_UP_AMR: 'otp', STEP_UP_CLAIM: 'level=mfa' },
      [
        { ...weak, acr: 'a' },
        { ...weak, amr: ['otp'] },
        { ...weak, level: 'mfa' },
      ],
      [weak],
      { acr_values: 'a' },
    ],
    [
      'a namespaced claim whose value has an equals sign',
      { ...none, STEP_UP_CLAIM: 'https://bank.example/level=loa=3' },
      [{ ...weak, 'https://bank.example/level': 'loa=3' }],
      [weak, { 'https://bank.example/level': 'loa' }, { 'https://bank.example/level=loa': '3' }],
      {},
    ],
    [
      'age in addition to a claim',
      { ...none, STEP_UP_CLAIM: 'level=mfa', STEP_UP_MAX_AGE: '60' },
      [{ level: 'mfa' }],
      [
        { level: 'pwd' },
        { level: 'mfa', auth_time: clock.nowSeconds - 66 },
        { level: 'mfa', auth_time: clock.nowMs() },
        { level: 'mfa', auth_time: String(clock.nowSeconds) },
      ],
      { max_age: '60' },
    ],
    ['age alone', { ...none, STEP_UP_MAX_AGE: '60' }, [{ acr: undefined }], [weak], { max_age: '60' }],
    ['age 0', { ...none, STEP_UP_MAX_AGE: '0' }, [{ auth_time: clock.nowSeconds + 1 }], [weak], { max_age: '0' }],
  ]
  for (const [name, environment, enough, tooLittle, asks] of cases) {
    const other = await startTestApi(t, { issuer, environment, clock })
    for (const claims of enough) t.equal((await post(claims, other)).status, 201, `${name}: ${JSON.stringify(claims)}`)
    for (const claims of tooLittle)
      checkRefusal(t, await post(claims, other), tooWeak, `${name}: ${JSON.stringify(claims)}`)
    const answer = await other.call('POST', '/transfers', { token: other.tokens.read(), json: transferBody() })
    const { realm, error, error_description, resource_metadata, scope, ...asked } = parametersOf(answer.challenge)
    t.strictSame(asked, asks, `${name}: what is unset is left out, never empty`)
  }
})
