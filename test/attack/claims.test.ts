import t from 'tap'
import { checkRefusal, type Expected, refuseToken } from '../helpers/refusals.js'
import { balances, ibans, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, signCompact } from '../helpers/test-issuer.js'

const api = await startTestApi(t)
const { call, clock, issuer, tokens } = api
const opening = await balances(api)
const leewayMs = 5000
const key = issuer.keys.ES256
const header = { alg: key.alg, typ: 'at+jwt', kid: key.kid }

const strong = (changes: Claims = {}): Claims =>
  tokens.claims({ scope: 'read:accounts transfer:funds', acr: 'urn:stepgate:acr:mfa', ...changes })

/** A transfer token in which one claim is the given JSON text, so that what JSON.stringify cannot write can be tried. */
function withRaw(claim: string, json: string): string {
  const text = JSON.stringify(strong({ [claim]: 'marker' })).replace('"marker"', json)
  return signCompact(header, text, key)
}

const empties = ['null', '""', '{}', '[]', '[[]]', '[null]', 'true', 'false']
const numbers = ['0', '1', '-1', '1.5', '1e400', '-1e400', '1e30', '-1e30', '9007199254740993', '4102444800000']
const texts = ['"1"', '"x"', '"\\ud800"', '"\\ufffd"', '"\\u0000"', '" "', '["x"]', '["x","x"]', '{"toString":"x"}']
const everything = [...empties, ...numbers, ...texts]
const notInteger = [...empties, '1.5', '1e400', '-1e400', '1e30', '-1e30', '9007199254740993', ...texts]
/** Odd values a claim may nevertheless have: they mean something, if only another subject or a scope nobody asks for. */
const anyText = ['"1"', '"x"', '"\\u0000"', '" "']

t.test('8725-3.8-3 (RFC 8725 §3.8): no odd value of a claim is taken for a right one', async (t) => {
  const wrong: Record<string, readonly string[]> = {
    iss: everything,
    aud: everything,
    sub: everything.filter((json) => !anyText.includes(json)),
    client_id: everything.filter((json) => !anyText.includes(json)),
    jti: everything.filter((json) => !anyText.includes(json)),
    exp: notInteger,
    iat: [...notInteger, '4102444800000'],
    nbf: [...notInteger, '4102444800000'],
    scope: everything.filter((json) => !['"1"', '"x"'].includes(json)),
  }
  for (const [claim, values] of Object.entries(wrong)) {
    t.test(claim, async (t) => {
      for (const json of values) await refuseToken(t, api, withRaw(claim, json), `${claim} ${json}`)
    })
  }
})

t.test('a claim that is missing', async (t) => {
  const special: Record<string, { read?: Expected; transfer?: Expected }> = {
    jti: { transfer: [401, 'not-single-use'] },
    scope: { read: [403, 'insufficient-scope'], transfer: [403, 'step-up-required'] },
  }
  for (const claim of ['iss', 'aud', 'sub', 'client_id', 'jti', 'exp', 'iat', 'scope']) {
    await refuseToken(t, api, tokens.sign(strong({ [claim]: undefined })), `no ${claim}`, special[claim])
  }
  t.equal((await call('GET', '/accounts', { token: tokens.read({ nbf: undefined }) })).status, 200, 'nbf is optional')
})

t.test('8725-3.8-2 (RFC 8725 §3.8): another subject is another subject, and sees nothing', async (t) => {
  for (const sub of [
    'x',
    'Alice',
    'alice ',
    ' alice',
    'alice\u0001',
    '\u0430lice',
    '1',
    '__proto__',
    'constructor',
    "' or 1=1 --",
  ]) {
    const { status, body } = await call('GET', '/accounts', { token: tokens.read({ sub }) })
    t.strictSame([status, body], [200, { accounts: [] }], JSON.stringify(sub))
  }
})

t.test('strings have a limit: sub and client_id 255 characters, jti 256', async (t) => {
  for (const [claim, limit] of Object.entries({ sub: 255, client_id: 255, jti: 256 })) {
    t.equal((await call('GET', '/accounts', { token: tokens.read({ [claim]: 'x'.repeat(limit) }) })).status, 200, claim)
    await refuseToken(t, api, tokens.sign(strong({ [claim]: 'x'.repeat(limit + 1) })), `${claim} too long`)
  }
})

t.test('NUL is refused in every string that is stored, since PostgreSQL cannot store it', async (t) => {
  for (const claim of ['sub', 'client_id', 'jti']) {
    for (const text of ['\0', 'a\0', '\0a', 'a\0b']) {
      await refuseToken(t, api, tokens.sign(strong({ [claim]: text })), `${claim} ${JSON.stringify(text)}`)
    }
  }
})

t.test('9068-4-5 (RFC 9068 §4): aud is the audience itself or a list of strings that has it', async (t) => {
  for (const aud of [publicUrl, [publicUrl], [publicUrl, 'https://other.example.com'], ['a', publicUrl]]) {
    t.equal((await call('GET', '/accounts', { token: tokens.read({ aud }) })).status, 200, JSON.stringify(aud))
  }
  const wrong: unknown[] = [
    `${publicUrl}/`,
    `${publicUrl}.evil.com`,
    `${publicUrl} https://other.example.com`,
    publicUrl.toUpperCase(),
    publicUrl.slice(0, -1),
    'api.example.com',
    '*',
    ['https://other.example.com'],
    [publicUrl, 1],
    [publicUrl, null],
    [[publicUrl]],
    [],
    { 0: publicUrl, length: 1 },
    { [publicUrl]: true },
  ]
  for (const aud of wrong) await refuseToken(t, api, tokens.sign(strong({ aud })), `aud ${JSON.stringify(aud)}`)
})

t.test('9068-4-4 (RFC 9068 §4): iss is equal to the last character', async (t) => {
  const { url } = issuer
  const wrong = [
    `${url}/`,
    url.toUpperCase(),
    url.replace('http:', 'https:'),
    url.replace('127.0.0.1', 'localhost'),
    `${url} `,
    ` ${url}`,
    `${url}/.`,
    `${url}#`,
    `${url}?`,
    `${url}0`,
    url.slice(0, -1),
    [url],
    { url },
  ]
  for (const iss of wrong) await refuseToken(t, api, tokens.sign(strong({ iss })), `iss ${JSON.stringify(iss)}`)
})

t.test('9068-4-13 (RFC 9068 §4): names that are not the scope grant nothing', async (t) => {
  const names = [
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'transfer',
    'transfer:fund',
    'TRANSFER:FUNDS',
  ]
  const more = [
    'transfer:funds:all',
    'transfer:*',
    '*',
    'read:accounts,transfer:funds',
    'xtransfer:funds',
    'transfer:funds.',
  ]
  for (const scope of [...names, ...more]) {
    await refuseToken(t, api, tokens.sign(strong({ scope })), scope, {
      read: [403, 'insufficient-scope'],
      transfer: [403, 'step-up-required'],
    })
  }
  const forms = [' read:accounts', 'read:accounts ', 'read:accounts  transfer:funds', 'transfer:funds\tread:accounts']
  const broken = ['transfer:funds\nx', 'transfer:funds\u00a0x', 'tränsfer', '"transfer:funds"', 'transfer:funds\\']
  const many = Array.from({ length: 201 }, (_, index) => `s${index}`).join(' ')
  for (const scope of [...forms, ...broken, many])
    await refuseToken(t, api, tokens.sign(strong({ scope })), JSON.stringify(scope))
  for (const claim of ['scp', 'permissions', 'scopes', 'roles']) {
    const claims = strong({ scope: 'read:accounts', [claim]: ['transfer:funds'] })
    const answer = await call('POST', '/transfers', { token: tokens.sign(claims), json: transferBody() })
    checkRefusal(t, answer, [403, 'step-up-required'], `${claim} is not read unless configured`)
  }
})

t.test('RFC 7519 §7.3: names that only look alike are compared as they are, never normalised', async (t) => {
  const alike = (text: string): string[] =>
    [
      text.replace('e', '\u0435'),
      text.replace('a', '\u0430'),
      text.replace('s', '\u017f'),
      text.replace('n', '\uff4e'),
      text.replace(':', '\uff1a'),
      text.replace(':', '\u2236'),
      `${text}\u200b`,
      `\ufeff${text}`,
      text.replace('e', 'e\u0301'),
      text.replace(':', '\u00ad:'),
    ].filter((other) => other !== text)
  for (const scope of alike('transfer:funds')) {
    await refuseToken(t, api, tokens.sign(strong({ scope })), `scope ${JSON.stringify(scope)}`)
    await refuseToken(t, api, tokens.sign(strong({ scope: `read:accounts ${scope}` })), 'beside a good scope')
  }
  for (const aud of alike(publicUrl)) await refuseToken(t, api, tokens.sign(strong({ aud })), JSON.stringify(aud))
  for (const iss of alike(issuer.url)) {
    await refuseToken(t, api, tokens.sign(strong({ iss })), JSON.stringify(iss))
  }
  for (const acr of alike('urn:stepgate:acr:mfa')) {
    const answer = await call('POST', '/transfers', { token: tokens.sign(strong({ acr })), json: transferBody() })
    checkRefusal(t, answer, [401, 'insufficient-user-authentication'], `acr ${JSON.stringify(acr)}`)
  }
  for (const sub of alike('alice')) {
    const { body } = await call('GET', '/accounts', { token: tokens.read({ sub }) })
    t.strictSame(body, { accounts: [] }, JSON.stringify(sub))
  }
})

t.test('9068-4-10 (RFC 9068 §4): exp refuses from its very second on (RFC 7519 §4.1.4), plus the leeway', async (t) => {
  const exp = clock.nowSeconds + 100
  const [read, transfer] = [tokens.read({ exp }), tokens.sign(strong({ exp }))]
  clock.advance(exp * 1000 + leewayMs - 1 - clock.nowMs())
  t.equal((await call('GET', '/accounts', { token: read })).status, 200, 'a millisecond before')
  t.equal((await call('GET', '/accounts', { token: transfer })).status, 200, 'a millisecond before, not seen before')
  clock.advance(1)
  const expired = [401, 'expired-token'] as const
  await refuseToken(t, api, read, 'verified before', { read: expired, transfer: expired })
  await refuseToken(t, api, tokens.sign(strong({ exp })), 'never seen', { read: expired, transfer: expired })
  for (const json of ['0', '1', '-1', '-9007199254740991']) {
    await refuseToken(t, api, withRaw('exp', json), `exp ${json}`, { read: expired, transfer: expired })
  }
  clock.advance(-10_000)
  t.equal((await call('GET', '/accounts', { token: read })).status, 200, 'the clock decides, not the cache')
})

t.test('ASVS-9.2.1 (OWASP ASVS 9.2.1): iat and nbf may be in the future by the leeway, and no more', async (t) => {
  for (const claim of ['iat', 'nbf']) {
    const at = Math.ceil((clock.nowMs() + leewayMs + 1) / 1000)
    const claims = strong({ iat: clock.nowSeconds, exp: at + 300, [claim]: at })
    const token = tokens.sign(claims)
    clock.advance(at * 1000 - leewayMs - 1 - clock.nowMs())
    await refuseToken(t, api, token, `${claim} a millisecond too early`)
    clock.advance(1)
    t.equal((await call('GET', '/accounts', { token })).status, 200, claim)
  }
  t.equal((await call('GET', '/accounts', { token: tokens.read({ nbf: 0 }) })).status, 200, 'nbf 0')
})

t.test('RFC 7800: a token bound by cnf, in whatever form, is no bearer token', async (t) => {
  const forms: unknown[] = [
    null,
    {},
    [],
    '',
    'x',
    0,
    false,
    { jkt: 'x' },
    { 'x5t#S256': 'x' },
    { jwk: key.jwk },
    { kid: 'x' },
  ]
  for (const cnf of forms) await refuseToken(t, api, tokens.sign(strong({ cnf })), `cnf ${JSON.stringify(cnf)}`)
})

t.test('a token bound to a transaction in a form that is none is invalid', async (t) => {
  for (const authorization_details of [null, {}, 'x', '[]', false, [null], [[]], [{}], [{ type: ['x'] }]]) {
    await refuseToken(t, api, tokens.sign(strong({ authorization_details })), JSON.stringify(authorization_details))
  }
})

t.test('claims that stand twice are never mixed, and prototypes give nothing', async (t) => {
  const claims = JSON.stringify(strong())
  const bobFirst = claims.replace('"sub":', '"sub":"bob","sub":')
  const { status, body } = await call('GET', '/accounts', { token: signCompact(header, bobFirst, key) })
  t.equal(status, 200)
  t.notMatch(JSON.stringify(body), new RegExp(ibans.bob), 'alice alone')
  const scopeLast = claims.replace(/}$/, ',"scope":"nothing"}')
  const none = { read: [403, 'insufficient-scope'], transfer: [403, 'step-up-required'] } as const
  await refuseToken(t, api, signCompact(header, scopeLast, key), 'the last scope counts', none)
  for (const name of ['__proto__', 'constructor', 'prototype']) {
    const wrapped = `{"${name}":${claims},"constructor":{"prototype":${claims}}}`
    await refuseToken(t, api, signCompact(header, wrapped, key), `claims inside ${name}`)
    const weak = JSON.stringify(strong({ scope: undefined })).replace(/}$/, `,"${name}":${claims}}`)
    await refuseToken(t, api, signCompact(header, weak, key), `a scope inside ${name}`, none)
  }
})

t.test('after all this the server answers and no money has moved', async (t) => {
  t.equal((await call('GET', '/livez')).status, 200)
  t.strictSame(await balances(api), opening)
})
