import fc from 'fast-check'
import t from 'tap'
import { type AccessToken, type TokenExpectations, validateAccessToken } from '#src/core/access-token.js'

const nowMs = 1_700_000_000_000
const nowSeconds = nowMs / 1000
const expected: TokenExpectations = {
  issuer: 'https://issuer.example',
  audience: 'https://api.example',
  leewaySeconds: 5,
  scopeClaims: ['scope'],
  issuerClaim: undefined,
}
const claims = {
  iss: 'https://issuer.example',
  aud: 'https://api.example',
  sub: 'alice',
  client_id: 'bank-web',
  jti: 'one',
  iat: nowSeconds,
  exp: nowSeconds + 300,
  scope: 'read:accounts',
}

function validate(changes: object, expectations: TokenExpectations = expected): AccessToken | 'invalid' | 'expired' {
  return validateAccessToken({ ...claims, ...changes }, expectations, nowMs)
}

t.test('a valid token is reduced to what decisions need', async (t) => {
  const changes = { acr: 'mfa', amr: ['otp'], auth_time: 1, level: 'high', extra: 'x', authorization_details: [] }
  t.strictSame(validate(changes, { ...expected, issuerClaim: 'level' }), {
    issuer: 'https://issuer.example',
    subject: 'alice',
    clientId: 'bank-web',
    jwtId: 'one',
    issuedAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 300,
    scopes: new Set(['read:accounts']),
    authentication: { acr: 'mfa', amr: ['otp'], authTime: 1, issuerClaim: 'high' },
    authorizationDetails: [],
    confirmation: undefined,
  })
  t.match(validate({ level: 'high' }), { authentication: { issuerClaim: undefined }, authorizationDetails: undefined })
})

t.test('variants that are valid', async (t) => {
  const cases: [string, object][] = [
    ['one of several audiences', { aud: ['https://other.example', 'https://api.example'] }],
    ['no jti, which is the policy’s matter', { jti: undefined }],
    ['no scope at all', { scope: undefined }],
    ['nbf now', { nbf: nowSeconds }],
    ['nbf within the leeway', { nbf: nowSeconds + 5 }],
    ['iat within the leeway', { iat: nowSeconds + 5 }],
    ['iat long ago', { iat: 1 }],
    ['a subject of 255 characters', { sub: 'x'.repeat(255) }],
    ['a jti of 256 characters', { jti: 'x'.repeat(256) }],
    ['a subject outside ASCII', { sub: 'Ælfrēd 🦊' }],
    ['in its last second, leeway included', { exp: nowSeconds - 4 }],
  ]
  for (const [name, changes] of cases) t.type(validate(changes), 'object', name)
})

t.test('RFC 9068 §4: claims that make a token invalid', async (t) => {
  const strings = (name: string): [string, object][] =>
    [undefined, null, '', 0, 1, true, {}, ['alice'], 'x'.repeat(257), 'a\uFFFD', 'a\uD800', '\uDC00b'].map((value) => [
      `${name}: ${JSON.stringify(value)?.slice(0, 20)}`,
      { [name]: value },
    ])
  const times = (name: string): [string, object][] =>
    [null, '', '1700000000', 1.5, Number.NaN, Number.POSITIVE_INFINITY, -1e30, 2 ** 53, true, {}, []].map((value) => [
      `${name}: ${String(value)}`,
      { [name]: value },
    ])
  const cases: [string, object][] = [
    ...strings('sub'),
    ...strings('client_id'),
    ...strings('jti').slice(1),
    ...times('exp'),
    ...times('iat'),
    ...times('nbf'),
    ['no exp', { exp: undefined }],
    ['no iat', { iat: undefined }],
    ['a subject of 256 characters', { sub: 'x'.repeat(256) }],
    ['a client of 256 characters', { client_id: 'x'.repeat(256) }],
    ['no iss', { iss: undefined }],
    ['another iss', { iss: 'https://other.example' }],
    ['iss with a slash', { iss: 'https://issuer.example/' }],
    ['iss in another case', { iss: 'https://ISSUER.example' }],
    ['iss as an array', { iss: ['https://issuer.example'] }],
    ['no aud', { aud: undefined }],
    ['another aud', { aud: 'https://other.example' }],
    ['an aud that begins so', { aud: 'https://api.example.evil' }],
    ['no audiences', { aud: [] }],
    ['only other audiences', { aud: ['https://other.example'] }],
    ['an audience that is no string', { aud: ['https://api.example', 1] }],
    ['aud as an object', { aud: { 0: 'https://api.example' } }],
    ['not yet valid', { nbf: nowSeconds + 6 }],
    ['issued in the future', { iat: nowSeconds + 6 }],
    ['scope as an array', { scope: ['read:accounts'] }],
    ['RFC 7800: bound to a key whose thumbprint is none', { cnf: { jkt: 'x' } }],
    ['cnf null', { cnf: null }],
    ...[
      null,
      undefined,
      '',
      '[]',
      0,
      false,
      {},
      { type: 'x' },
      ['x'],
      [null],
      [[]],
      [{}],
      [{ type: 1 }],
      [{ type: 'x' }, {}],
    ].map((value): [string, object] => [
      `RFC 9396 §2: authorization_details ${JSON.stringify(value)}`,
      { authorization_details: value },
    ]),
    ['invalid wins over expired', { exp: 1, aud: 'other' }],
  ]
  for (const [name, changes] of cases) t.equal(validate(changes), 'invalid', name)
})

t.test('RFC 7519 §4.1.4: a token is refused from the second that exp names, plus leeway', async (t) => {
  const strict = { ...expected, leewaySeconds: 0 }
  t.equal(validate({ exp: nowSeconds }, strict), 'expired')
  t.type(validate({ exp: nowSeconds + 1 }, strict), 'object')
  t.equal(validate({ exp: nowSeconds - 5 }), 'expired')
  t.equal(validate({ exp: 0 }), 'expired')
  t.equal(validate({ exp: -1 }), 'expired')
})

t.test('claims of the prototype are no claims', async (t) => {
  t.equal(validateAccessToken(Object.create(claims), expected, nowMs), 'invalid')
  t.match(
    validateAccessToken(Object.assign(Object.create({ jti: 'x' }), { ...claims, jti: undefined }), expected, nowMs),
    {
      jwtId: undefined,
    },
  )
})

t.test('whatever stands in the claims, the answer is a decision and never an exception', async (t) => {
  const value = fc.oneof(fc.jsonValue(), fc.double(), fc.string())
  const oneOddClaim = fc.property(fc.constantFrom(...Object.keys(claims), 'nbf', 'cnf', 'acr'), value, (name, odd) => {
    const result = validate({ [name]: odd })
    if (typeof result === 'string') return true
    return result.issuer === expected.issuer && result.subject.length > 0 && result.expiresAtSeconds > nowSeconds - 5
  })
  const anyClaims = fc.property(fc.dictionary(fc.string(), value), (odd) => {
    return validateAccessToken(odd, expected, nowMs) === 'invalid'
  })
  t.doesNotThrow(() => fc.assert(oneOddClaim))
  t.doesNotThrow(() => fc.assert(anyClaims))
})
