import t from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { startTestApi, transferBody } from '../helpers/test-api.js'

const bank = 'https://bank.example.com'
const local = 'http://localhost:8080'
const api = await startTestApi(t, { environment: { CORS_ORIGINS: `${bank} ${local}` } })
const { call, port, tokens } = api
const exposed = 'WWW-Authenticate, DPoP-Nonce, Location, Retry-After, Idempotency-Replayed'

function corsFields(headers: Headers): string[] {
  return [...headers.keys()].filter((name) => name.startsWith('access-control-'))
}

t.test('a page of an allowed origin reads every answer, and the fields that step-up needs', async (t) => {
  const token = tokens.transfer()
  const json = transferBody()
  const cases: [string, string, Parameters<typeof call>[2], number][] = [
    ['GET', '/accounts', { token }, 200],
    ['GET', '/accounts', {}, 401],
    ['GET', '/accounts', { headers: { authorization: 'Bearer' } }, 400],
    ['POST', '/transfers', { token: tokens.read(), json }, 403],
    ['POST', '/transfers', { token, json: {} }, 400],
    ['POST', '/transfers', { token, json: 'x'.repeat(17_000) }, 413],
    ['POST', '/transfers', { token, json, headers: { 'content-type': 'text/plain' } }, 415],
    ['POST', '/transfers', { token, json }, 201],
    ['POST', '/transfers', { token, json }, 401],
    ['GET', '/accounts/x', { token }, 404],
    ['GET', '/nowhere', {}, 404],
    ['DELETE', '/accounts', {}, 405],
    ['GET', '/%ff', {}, 400],
    ['GET', `/accounts/${'x'.repeat(101)}`, { token }, 414],
    ['GET', '/.well-known/oauth-protected-resource', {}, 200],
  ]
  for (const [method, path, options, status] of cases) {
    for (const origin of [bank, local]) {
      if (status === 201 && origin === local) continue
      const headers = { ...options?.headers, origin }
      const answer = await call(method, path, { ...options, headers })
      t.equal(answer.status, status, `${method} ${path.slice(0, 20)}`)
      t.equal(answer.headers.get('access-control-allow-origin'), origin)
      t.equal(answer.headers.get('access-control-expose-headers'), exposed)
      t.equal(answer.headers.get('access-control-allow-credentials'), null, 'no cookies, no credentials')
      t.match(answer.headers.get('vary'), /\bOrigin\b/i, 'a cache keeps origins apart')
    }
  }
})

t.test('a preflight allows the fields and methods of the API, without a token', async (t) => {
  for (const [path, method] of [
    ['/accounts', 'GET'],
    ['/transfers', 'POST'],
  ] as const) {
    const headers = {
      origin: bank,
      'access-control-request-method': method,
      'access-control-request-headers': 'authorization,content-type,dpop,idempotency-key',
    }
    const answer = await call('OPTIONS', path, { headers })
    t.equal(answer.status, 204)
    t.equal(answer.headers.get('access-control-allow-origin'), bank)
    t.match(answer.headers.get('access-control-allow-methods'), new RegExp(`\\b${method}\\b`))
    const allowed = answer.headers
      .get('access-control-allow-headers')
      ?.split(/, */)
      .map((name) => name.toLowerCase())
    t.strictSame(new Set(allowed), new Set(['authorization', 'dpop', 'content-type', 'idempotency-key']))
  }
})

t.test('any other origin gets no CORS field, on answers and preflights', async (t) => {
  const origins = [
    'https://evil.example',
    'null',
    '*',
    bank.toUpperCase(),
    `${bank}/`,
    `${bank}:443`,
    `${bank}.evil.example`,
    `https://evil.example/?${bank}`,
    bank.replace('https', 'http'),
    'https://sub.bank.example.com',
    'https://bankxexample.com',
    'http://localhost',
    'http://localhost:80800',
    `${bank} ${local}`,
    '',
  ]
  for (const origin of origins) {
    const read = await call('GET', '/accounts', { token: tokens.read(), headers: { origin } })
    t.strictSame([read.status, corsFields(read.headers)], [200, []], `answer for ${JSON.stringify(origin)}`)
    const headers = { origin, 'access-control-request-method': 'POST' }
    const preflight = await call('OPTIONS', '/transfers', { headers })
    t.strictSame(corsFields(preflight.headers), [], `preflight from ${JSON.stringify(origin)}`)
  }
  t.strictSame(corsFields((await call('GET', '/accounts')).headers), [], 'no origin')
})

t.test('OPTIONS that is no preflight is a method like any other', async (t) => {
  checkRefusal(t, await call('OPTIONS', '/accounts'), [405, 'method-not-allowed'])
  checkRefusal(t, await call('OPTIONS', '/nowhere'), [404, 'unknown-path'])
  const two = rawRequest('GET', '/accounts', [`Origin: ${bank}`, 'Origin: https://evil.example'])
  const answer = await exchangeOne(port, two)
  t.ok([null, bank].includes(answer.headers.get('access-control-allow-origin')), 'two Origin fields grant nothing new')
})

t.test('without CORS_ORIGINS there is no CORS at all', async (t) => {
  const closed = await startTestApi(t, { issuer: api.issuer })
  const headers = { origin: bank, 'access-control-request-method': 'GET' }
  const preflight = await closed.call('OPTIONS', '/accounts', { headers })
  checkRefusal(t, preflight, [405, 'method-not-allowed'])
  t.strictSame(corsFields(preflight.headers), [])
  t.strictSame(corsFields((await closed.call('GET', '/accounts', { headers: { origin: bank } })).headers), [])
})
