import t from 'tap'
import { serializeChallenge } from '#src/core/challenge.js'
import { parseChallenge } from '../helpers/challenges.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { acrMfa, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey } from '../helpers/test-issuer.js'

const { call, clock, issuer, port, tokens } = await startTestApi(t)
const metadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource"`
const stepUp = `scope="transfer:funds", acr_values="${acrMfa}", max_age="300"`
const body = JSON.stringify(transferBody())
const json = 'Content-Type: application/json'
const bearer = (token: string) => `Authorization: Bearer ${token}`
const get = (...fields: string[]) => rawRequest('GET', '/accounts', fields)
const post = (...fields: string[]) => rawRequest('POST', '/transfers', [json, ...fields], body)

const spent = tokens.transfer()
await call('POST', '/transfers', { token: spent, json: transferBody() })
const forged = tokens.sign(tokens.claims(), {}, makeKey('ES256', issuer.keys.ES256.kid))
const expired = tokens.transfer({ exp: clock.nowSeconds - 5 })
const transfer = (changes: Claims) => post(bearer(tokens.transfer(changes)))

/** Every refusal of this version that carries a challenge: the request, the status and the rest of the Bearer line. */
const rows: [title: string, request: string, status: number, parameters: string][] = [
  ['no token on a read', get(), 401, `scope="read:accounts", ${metadata}`],
  ['no token on a transfer', post(), 401, `scope="transfer:funds", ${metadata}`],
  ['another scheme', get('Authorization: Basic eDp5'), 401, `scope="read:accounts", ${metadata}`],
  ['a bare token', get(`Authorization: ${spent}`), 401, `scope="read:accounts", ${metadata}`],
  [
    'malformed credentials',
    get('Authorization: Bearer'),
    400,
    `error="invalid_request", ${metadata}, error_description="The credentials must be one Authorization header of the form scheme, space, token"`,
  ],
  [
    'malformed credentials on a transfer',
    post('Authorization: Bearer a b'),
    400,
    `error="invalid_request", ${metadata}, error_description="The credentials must be one Authorization header of the form scheme, space, token"`,
  ],
  [
    'an invalid token on a read',
    get(bearer(forged)),
    401,
    `error="invalid_token", scope="read:accounts", ${metadata}, error_description="The access token is invalid"`,
  ],
  [
    'an invalid token on a transfer',
    post(bearer(forged)),
    401,
    `error="invalid_token", scope="transfer:funds", ${metadata}, error_description="The access token is invalid"`,
  ],
  [
    'a token bound by cnf',
    post(bearer(tokens.transfer({ cnf: { jkt: 'x' } }))),
    401,
    `error="invalid_token", scope="transfer:funds", ${metadata}, error_description="The access token is invalid"`,
  ],
  [
    'an expired token on a read',
    get(bearer(expired)),
    401,
    `error="invalid_token", scope="read:accounts", ${metadata}, error_description="The access token expired"`,
  ],
  [
    'an expired token on a transfer',
    post(bearer(expired)),
    401,
    `error="invalid_token", scope="transfer:funds", ${metadata}, error_description="The access token expired"`,
  ],
  [
    'a token without the read scope',
    get(bearer(tokens.transfer({ scope: 'transfer:funds' }))),
    403,
    `error="insufficient_scope", scope="read:accounts", ${metadata}, error_description="The access token lacks the scope that this resource needs"`,
  ],
  [
    'a token without the high-value scope',
    post(bearer(tokens.read())),
    403,
    `error="insufficient_scope", ${stepUp}, ${metadata}, error_description="Multi-factor authentication is required for transfers"`,
  ],
  [
    'weak authentication',
    transfer({ acr: 'urn:stepgate:acr:pwd' }),
    401,
    `error="insufficient_user_authentication", ${stepUp}, ${metadata}, error_description="A stronger or more recent user authentication is required"`,
  ],
  [
    'a spent token',
    post(bearer(spent)),
    401,
    `error="invalid_token", ${stepUp}, ${metadata}, error_description="The access token was already used"`,
  ],
  [
    'a transfer token without jti',
    transfer({ jti: undefined }),
    401,
    `error="invalid_token", ${stepUp}, ${metadata}, error_description="The access token has no jti, lives too long or predates this server"`,
  ],
  [
    'a transfer token that lives too long',
    transfer({ exp: clock.nowSeconds + 601 }),
    401,
    `error="invalid_token", ${stepUp}, ${metadata}, error_description="The access token has no jti, lives too long or predates this server"`,
  ],
  [
    'a token bound to a transaction',
    transfer({ authorization_details: [] }),
    403,
    `error="insufficient_scope", ${stepUp}, ${metadata}, error_description="The access token does not authorize this transaction"`,
  ],
]

const order = ['realm', 'error', 'scope', 'acr_values', 'max_age', 'resource_metadata', 'error_description']

/** The answer to each row, with the challenges as they stood on the wire. */
const refusals = await Promise.all(
  rows.map(async ([title, request, status, parameters]) => {
    const answer = await exchangeOne(port, request)
    const lines = answer.fields.filter(([name]) => name === 'www-authenticate').map(([, line]) => line)
    return { title, status, parameters, answer, lines }
  }),
)
const challenged = refusals.flatMap(({ title, lines }) => lines.map((line) => ({ title, line })))

t.test('6750-3-2 (RFC 6750 §3): each refusal has its one Bearer line, byte for byte', async (t) => {
  for (const { title, status, parameters, answer, lines } of refusals) {
    t.equal(answer.status, status, title)
    const offer = status === 401 ? [`DPoP algs="ES256 Ed25519 EdDSA PS256", ${metadata}`] : []
    t.strictSame(lines, [`Bearer realm="stepgate", ${parameters}`, ...offer], title)
  }
})

t.test('6750-3-1 (RFC 6750 §3): whoever is not let in is told how to get in', async (t) => {
  for (const { title, lines } of refusals) t.ok(lines.length > 0, title)
})

t.test('6750-3-3 (RFC 6750 §3): the scheme is followed by at least one parameter', async (t) => {
  for (const { title, line } of challenged) t.match(line, /^[A-Za-z]+ [a-z_]+="[^"]+"/, title)
})

for (const [id, names] of [
  ['6750-3-4', ['realm']],
  ['6750-3-5', ['scope']],
  ['6750-3-7', ['error', 'error_description', 'error_uri']],
] as const) {
  t.test(`${id} (RFC 6750 §3): no challenge holds ${names.join(', ')} more than once`, async (t) => {
    const count = (line: string, name: string) => line.split(new RegExp(`[ ,]${name}=`)).length - 1
    for (const { title, line } of challenged)
      for (const name of names) t.ok(count(line, name) <= 1, `${name}: ${title}`)
    const wanted = names.filter((name) => name !== 'error_uri')
    t.ok(wanted.every((name) => challenged.some(({ line }) => count(line, name) === 1)))
  })
}

t.test('6750-3-6 (RFC 6750 §3): who presented a token is told why it was declined', async (t) => {
  const presented: [string, number, string][] = [
    [bearer(forged), 401, 'invalid_token'],
    [bearer(expired), 401, 'invalid_token'],
    [bearer(spent), 401, 'invalid_token'],
    [bearer(tokens.read()), 403, 'insufficient_scope'],
  ]
  for (const [field, status, error] of presented) {
    const answer = await exchangeOne(port, post(field))
    t.strictSame([answer.status, answer.body['error']], [status, error])
    t.match(answer.headers.get('www-authenticate'), `error="${error}"`)
  }
})

t.test(
  'RFC 9110 §11.6.1: each line parses, in the order that clients rely on, and the body says the same',
  async (t) => {
    for (const { title, status, answer, lines } of refusals) {
      const { scheme, parameters } = parseChallenge(lines[0] as string)
      t.equal(scheme, 'Bearer')
      const names = parameters.map(([name]) => name)
      t.strictSame(
        names,
        order.filter((name) => names.includes(name)),
        title,
      )
      const { realm, ...named } = Object.fromEntries(parameters)
      t.equal(realm, 'stepgate')
      const { type, title: heading, detail, instance, status: bodyStatus, ...members } = answer.body
      // What RFC 9396 asks for is JSON, which no challenge parameter can hold.
      const { authorization_details, ...extensions } = members
      t.equal(bodyStatus, status)
      const sent = 'max_age' in extensions ? { ...extensions, max_age: String(extensions['max_age']) } : extensions
      t.strictSame(sent, named, `${title}: the body repeats the header`)
      if (named['error_description'] !== undefined) t.equal(detail, named['error_description'])
    }
  },
)

t.test('6750-3-8 (RFC 6750 §3): scope holds none but scopes with single spaces between', async (t) => {
  const values = challenged.map(({ line }) => new Map(parseChallenge(line).parameters).get('scope'))
  t.ok(values.includes('transfer:funds') && values.includes('read:accounts'))
  for (const value of values) t.match(value ?? 'x', /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/)
})

t.test('6750-3-9 (RFC 6750 §3): error and error_description hold none but the characters allowed', async (t) => {
  for (const { title, line } of challenged) {
    const { error = 'x', error_description: text = 'x' } = Object.fromEntries(parseChallenge(line).parameters)
    t.match(error, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, title)
    t.match(text, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, title)
    t.notMatch(text, /=/, 'a client that searches the line finds no false parameter')
  }
})

t.test('6750-3.1-4 (RFC 6750 §3.1): a request without authentication information gets no error code', async (t) => {
  for (const { title, answer } of refusals.slice(0, 4)) {
    t.equal(answer.status, 401)
    t.notMatch(answer.headers.get('www-authenticate'), /error|acr_values|max_age/, title)
    t.notOk('error' in answer.body || 'error_description' in answer.body, title)
  }
})

for (const [id, error, expected] of [
  ['6750-3.1-1', 'invalid_request', 400],
  ['6750-3.1-2', 'invalid_token', 401],
] as const) {
  t.test(`${id} (RFC 6750 §3.1): ${error} is ${expected}, and nothing else`, async (t) => {
    const declined = refusals.filter(({ answer }) => answer.body['error'] === error)
    t.ok(declined.length > 1)
    for (const { title, answer, lines } of declined) {
      t.equal(answer.status, expected, title)
      t.match(lines[0], `error="${error}"`, title)
    }
  })
}

t.test('6750-3.1-3 (RFC 6750 §3.1): 403 names the missing scope, and a token with that scope is let in', async (t) => {
  const refused = await call('GET', '/accounts', { token: tokens.read({ scope: 'transfer:funds other' }) })
  t.equal(refused.status, 403)
  t.equal(refused.body['scope'], 'read:accounts')
  t.equal(
    (await call('GET', '/accounts', { token: tokens.read({ scope: String(refused.body['scope']) }) })).status,
    200,
  )
})

t.test('RFC 6750 §3: a refusal that is not about the token carries no challenge', async (t) => {
  const token = tokens.transfer()
  for (const [method, path, options, status] of [
    ['POST', '/transfers', { token, json: {} }, 400],
    ['POST', '/transfers', { token, json: transferBody(), headers: { 'idempotency-key': ',' } }, 400],
    ['GET', '/accounts/x', { token }, 404],
    ['GET', '/nowhere', {}, 404],
    ['DELETE', '/accounts', {}, 405],
  ] as const) {
    const answer = await call(method, path, options)
    t.strictSame([answer.status, answer.challenge], [status, null], `${method} ${path}`)
  }
})

t.test('RFC 9111 §5.2.2.5: an answer that holds an account or a refusal is never stored', async (t) => {
  const token = tokens.read()
  for (const [path, status] of [
    ['/accounts', 200],
    ['/accounts/x', 404],
    ['/nowhere', 404],
  ] as const) {
    const answer = await call('GET', path, { token })
    t.strictSame([answer.status, answer.headers.get('cache-control')], [status, 'no-store'], path)
  }
})

t.test('RFC 9110 §5.6.4: quotes and backslashes in a value are escaped, and parse back', async (t) => {
  const realm = 'a "b" \\c\\'
  const line = serializeChallenge({ scheme: 'Bearer', realm, resourceMetadata: publicUrl, scope: undefined })
  t.equal(line, `Bearer realm="a \\"b\\" \\\\c\\\\", resource_metadata="${publicUrl}"`)
  t.strictSame(parseChallenge(line).parameters[0], ['realm', realm])
})
