import t from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { balances, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { call, port, tokens } = api
const opening = await balances(api)
const read = tokens.read()
const unused = tokens.transfer()
const json = 'Content-Type: application/json'
const body = JSON.stringify(transferBody())
const resourceMetadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource"`
const offer = `DPoP algs="ES256 Ed25519 EdDSA PS256", ${resourceMetadata}`
const noToken = `Bearer realm="stepgate", scope="read:accounts", ${resourceMetadata}, ${offer}`
const malformed = `Bearer realm="stepgate", error="invalid_request", ${resourceMetadata}`

function get(target: string, ...fields: string[]) {
  return exchangeOne(port, rawRequest('GET', target, fields))
}

t.test('6750-2.1-2 (RFC 6750 §2.1): the header, the scheme in any case, one or more spaces', async (t) => {
  const forms = ['Bearer ', 'bearer ', 'BEARER ', 'bEaReR ', 'Bearer  ', 'Bearer      ']
  for (const form of forms) t.equal((await get('/accounts', `Authorization: ${form}${read}`)).status, 200, form)
  for (const name of ['authorization', 'AUTHORIZATION', 'aUTHORIZATION']) {
    t.equal((await get('/accounts', `${name}: Bearer ${read}`)).status, 200, name)
  }
  t.equal((await get('/accounts', `Authorization:\t Bearer ${read} \t`)).status, 200, 'white space around the value')
})

t.test('credentials of another scheme, or of none, are no token: 401 without error', async (t) => {
  const values = [
    '',
    read,
    `Bearer${read}`,
    `Bearer-${read}`,
    `Bearer_x ${read}`,
    `Bearers ${read}`,
    'Basic YWxpY2U6c2VjcmV0',
    `Basic ${read}`,
    `DPoPs ${read}`,
    `DPoP-${read}`,
    `Token ${read}`,
    `JWT ${read}`,
    `MAC id="${read}"`,
    'Negotiate',
    `"Bearer" ${read}`,
    `,Bearer ${read}`,
    `Basic x, Bearer ${read}`,
    `Authorization: Bearer ${read}`,
  ]
  for (const value of values) {
    const answer = await get('/accounts', `Authorization: ${value}`)
    const label = JSON.stringify(value.replaceAll(read, '…'))
    checkRefusal(t, answer, [401, 'missing-token'], label)
    t.equal(answer.headers.get('www-authenticate'), noToken, label)
    t.notOk('error' in answer.body, 'no error')
  }
  t.equal((await get('/accounts')).headers.get('www-authenticate'), noToken, 'no field at all')
})

t.test('Bearer credentials in a wrong form are 400 invalid_request', async (t) => {
  const values = [
    'Bearer',
    'Bearer ',
    `Bearer\t${read}`,
    `Bearer \t${read}`,
    `Bearer ${read} ${read}`,
    `Bearer ${read} x`,
    `Bearer ${read},`,
    `Bearer ${read}, Bearer ${read}`,
    `Bearer ${read}, Basic x`,
    `Bearer: ${read}`,
    `Bearer="${read}"`,
    `Bearer "${read}"`,
    `Bearer token=${read}`,
    `Bearer realm="x", token="${read}"`,
    `Bearer ${read}=x`,
    `Bearer =`,
    'Bearer ä',
    'Bearer {}',
    'Bearer \u0080',
  ]
  for (const value of values) {
    const answer = await get('/accounts', `Authorization: ${value}`)
    const label = JSON.stringify(value.replaceAll(read, '…'))
    checkRefusal(t, answer, [400, 'invalid-request'], label)
    t.ok(answer.headers.get('www-authenticate')?.startsWith(malformed), label)
  }
})

t.test('two Authorization fields are 400, whichever is good and however they are written', async (t) => {
  const good = `Authorization: Bearer ${read}`
  const pairs = [
    [good, good],
    [good, 'Authorization: Basic x'],
    ['Authorization: Basic x', good],
    [good, `authorization: Bearer x`],
    [`AUTHORIZATION: Bearer x`, good],
    [good, 'Authorization:'],
    ['Authorization:', good],
    ['Authorization: Basic x', 'Authorization: Basic y'],
  ]
  for (const pair of pairs) {
    checkRefusal(t, await get('/accounts', ...pair), [400, 'invalid-request'])
    checkRefusal(t, await get('/accounts', pair[0] as string, 'X-Between: 1', pair[1] as string), [
      400,
      'invalid-request',
    ])
  }
})

t.test('RFC 6750 §2: a token in the header and one in the query are two methods, and 400', async (t) => {
  const queries = ['access_token=x', `access_token=${read}`, 'access_token', 'a=1&access_token=', 'access%5Ftoken=x']
  for (const query of queries) {
    const answer = await get(`/accounts?${query}`, `Authorization: Bearer ${read}`)
    checkRefusal(t, answer, [400, 'invalid-request'], query)
  }
  const post = rawRequest('POST', '/transfers?access_token=x', [json, `Authorization: Bearer ${unused}`], body)
  checkRefusal(t, await exchangeOne(port, post), [400, 'invalid-request'])
})

t.test('OAuth 2.1 §5.1: a token anywhere but in the Authorization field is as no token', async (t) => {
  const elsewhere: [string, string][] = [
    ['query', rawRequest('GET', `/accounts?access_token=${read}`)],
    ['query, twice', rawRequest('GET', `/accounts?access_token=${read}&access_token=${read}`)],
    ['another query parameter', rawRequest('GET', `/accounts/1?token=${read}&bearer=${read}`)],
    ['cookie', rawRequest('GET', '/accounts', [`Cookie: access_token=${read}; token=${read}; Bearer=${read}`])],
    ['X-Access-Token', rawRequest('GET', '/accounts', [`X-Access-Token: ${read}`, `Access-Token: ${read}`])],
    ['Proxy-Authorization', rawRequest('GET', '/accounts', [`Proxy-Authorization: Bearer ${read}`])],
    ['X-Forwarded-Authorization', rawRequest('GET', '/accounts', [`X-Forwarded-Authorization: Bearer ${read}`])],
    ['header with an underscore', rawRequest('GET', '/accounts', [`Authorization_: Bearer ${read}`])],
    ['body of a GET', rawRequest('GET', '/accounts', [json], JSON.stringify({ access_token: read }))],
  ]
  for (const [name, request] of elsewhere) {
    const answer = await exchangeOne(port, request)
    checkRefusal(t, answer, [401, 'missing-token'], name)
    t.equal(answer.headers.get('www-authenticate'), noToken)
  }
  const form = 'Content-Type: application/x-www-form-urlencoded'
  for (const [field, text] of [
    [json, JSON.stringify({ ...transferBody(), access_token: unused })],
    [form, `access_token=${unused}`],
  ] as const) {
    const answer = await exchangeOne(port, rawRequest('POST', '/transfers', [field], text))
    checkRefusal(t, answer, [401, 'missing-token'], `body, ${field}`)
  }
})

t.test('a method override changes nothing', async (t) => {
  const overrides = [
    'X-HTTP-Method-Override: GET',
    'X-HTTP-Method: GET',
    'X-Original-URL: /livez',
    'X-Rewrite-URL: /livez',
    'X-Method-Override: GET',
  ]
  for (const field of overrides) {
    const answer = await exchangeOne(port, rawRequest('POST', '/transfers', [field, json], body))
    checkRefusal(t, answer, [401, 'missing-token'], field)
    t.equal((await get('/accounts', `Authorization: Bearer ${read}`, field)).status, 200, `${field}, on a read`)
  }
  const toPost = await get('/accounts', `Authorization: Bearer ${unused}`, 'X-HTTP-Method-Override: POST')
  t.equal(toPost.status, 200)
})

t.test('after all this the unused token still works, once, and nothing else has moved money', async (t) => {
  t.strictSame(await balances(api), opening)
  t.equal((await call('POST', '/transfers', { token: unused, json: transferBody() })).status, 201)
  t.equal((await call('GET', '/livez')).status, 200)
})
