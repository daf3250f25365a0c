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
  ['a DPoP token, while DPoP is off', get(`Authorization: DPoP ${spent}`), 401, `scope="read:accounts", ${metadata}`],
  ['a bare token', get(`Authorization: ${spent}`), 401, `scope="read:accounts", ${metadata}`],
  [
    'malformed credentials',
    get('Authorization: Bearer'),
    400,
    `error="invalid_request", ${metadata}, error_description="The credentials must be one Authorization header of the form Bearer, space, token"`,
  ],
  [
    'malformed credentials on a transfer',
    post('Authorization: Bearer a b'),
    400,
    `error="invalid_request", ${metadata}, error_description="The credentials must be one Authorization header of the form Bearer, space, token"`,
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

t.test('RFC 6750 §3: each refusal has its one Bearer line, byte for byte', async (t) => {
  for (const [title, request, status, parameters] of rows) {
    const answer = await exchangeOne(port, request)
    t.equal(answer.status, status, title)
    const lines = answer.fields.filter(([name]) => name === 'www-authenticate').map(([, value]) => value)
    t.strictSame(lines, [`Bearer realm="stepgate", ${parameters}`], title)
  }
})

t.test(
  'RFC 9110 §11.6.1: each line parses, in the order that clients rely on, and the body says the same',
  async (t) => {
    for (const [title, request, status] of rows) {
      const answer = await exchangeOne(port, request)
      const { scheme, parameters } = parseChallenge(answer.headers.get('www-authenticate') as string)
      t.equal(scheme, 'Bearer')
      const names = parameters.map(([name]) => name)
      t.strictSame(
        names,
        order.filter((name) => names.includes(name)),
        title,
      )
      const { realm, ...named } = Object.fromEntries(parameters)
      t.equal(realm, 'stepgate')
      const { type, title: heading, detail, instance, status: bodyStatus, ...extensions } = answer.body
      t.equal(bodyStatus, status)
      const sent = 'max_age' in extensions ? { ...extensions, max_age: String(extensions['max_age']) } : extensions
      t.strictSame(sent, named, `${title}: the body repeats the header`)
      if (named['error_description'] !== undefined) t.equal(detail, named['error_description'])
    }
  },
)

t.test('RFC 6750 §3: error_description and scope hold none but the characters allowed', async (t) => {
  for (const [title, , , line] of rows) {
    const parameters = new Map(parseChallenge(`Bearer realm="x", ${line}`).parameters)
    t.match(parameters.get('error_description') ?? '', /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/, title)
    t.match(parameters.get('scope') ?? 'x', /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/, title)
    t.match(parameters.get('error') ?? 'x', /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, title)
    t.notMatch(
      parameters.get('error_description') ?? '',
      /=/,
      'a client that searches the line finds no false parameter',
    )
  }
})

t.test('RFC 6750 §3.1: a request without authentication information gets no error code', async (t) => {
  for (const [title, request] of rows.slice(0, 5)) {
    const answer = await exchangeOne(port, request)
    t.notMatch(answer.headers.get('www-authenticate'), /error|acr_values|max_age/, title)
    t.notOk('error' in answer.body || 'error_description' in answer.body, title)
  }
})

t.test('RFC 6750 §3.1: invalid_request is 400, invalid_token 401, insufficient_scope 403', async (t) => {
  const statusOf: Record<string, number> = {
    invalid_request: 400,
    invalid_token: 401,
    insufficient_user_authentication: 401,
    insufficient_scope: 403,
  }
  for (const [title, , status, line] of rows) {
    const error = new Map(parseChallenge(`Bearer realm="x", ${line}`).parameters).get('error')
    t.equal(status, error === undefined ? 401 : statusOf[error], title)
  }
})

t.test('RFC 6750 §3.1: 403 names the missing scope, and a token with that scope is let in', async (t) => {
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

t.test('RFC 6750 §5.3: an answer that holds an account or a refusal is never stored', async (t) => {
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
  const line = serializeChallenge({ realm, resourceMetadata: publicUrl, scope: undefined })
  t.equal(line, `Bearer realm="a \\"b\\" \\\\c\\\\", resource_metadata="${publicUrl}"`)
  t.strictSame(parseChallenge(line).parameters[0], ['realm', realm])
})
