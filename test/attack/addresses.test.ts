import t from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { publicUrl, startTestApi } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { call, port, tokens } = api
const read = tokens.read()
const bearer = `Authorization: Bearer ${read}`
const unknown: Expected = [404, 'unknown-path']
const malformed: Expected = [400, 'malformed-request']

/** Waits for one answer rather than for the end of the connection, so that each test looks at one thing. */
function get(target: string, fields: readonly string[] = [bearer]) {
  return exchangeOne(port, rawRequest('GET', target, fields), { answers: 1 })
}

t.test('addresses that are no address here', async (t) => {
  const targets: [string, Expected][] = [
    ['/', unknown],
    ['/nowhere', unknown],
    ['//accounts', unknown],
    ['/ACCOUNTS', unknown],
    ['/accounts;x=1', unknown],
    ['/accounts%2f', unknown],
    ['/accounts%3fx', unknown],
    ['/./accounts', unknown],
    ['/x/../accounts', unknown],
    ['/\\accounts', unknown],
    ['/accounts/x/y', unknown],
    ['/accounts/x/transactions/y', unknown],
    ['/transfers/x/y', unknown],
    ['/.well-known/oauth-protected-resource/x', unknown],
    ['/.well-known/oauth-authorization-server', unknown],
    ['/.env', unknown],
    ['/metrics', unknown],
    ['/health', unknown],
    ['/?access_token=x', unknown],
    ['http://evil.example', unknown],
    ['http://evil.example/nowhere', unknown],
    ['*', unknown],
    ['/%', malformed],
    ['/%ff', malformed],
    ['/%zz', malformed],
    ['/accounts/%', malformed],
    ['/accounts/%ff', malformed],
    ['/accounts/%ED%A0%80', malformed],
    ['/accounts/%c0%ae', malformed],
    ['/\xff', malformed],
    [`/accounts/${'x'.repeat(101)}`, [414, 'uri-too-long']],
    [`/accounts/${read}`, [414, 'uri-too-long']],
    [`/transfers/${'x'.repeat(9000)}`, [414, 'uri-too-long']],
    [`/problems/${'x'.repeat(101)}`, [414, 'uri-too-long']],
    [`/nowhere/${read}`, unknown],
  ]
  for (const [target, expected] of targets) {
    for (const fields of [[bearer], []]) checkRefusal(t, await get(target, fields), expected, target.slice(0, 40))
  }
})

t.test('identifiers that are none are 404 for a caller with a token, and 401 without', async (t) => {
  const identifiers = [
    'x',
    '..',
    '%2e%2e',
    '%2e%2e%2f%2e%2e%2fetc%2fpasswd',
    '%00',
    '%0d%0aSet-Cookie:%20a=b',
    '__proto__',
    'constructor',
    'toString',
    "'%20or%201=1%20--",
    '%22',
    '%F0%9F%92%B6',
    '%EF%BF%BD',
    '-1',
    '0',
    '1e400',
    'null',
    'x'.repeat(100),
    '%25',
    '',
  ]
  for (const identifier of identifiers) {
    for (const path of [
      `/accounts/${identifier}`,
      `/accounts/${identifier}/transactions`,
      `/transfers/${identifier}`,
    ]) {
      checkRefusal(t, await get(path), [404, 'not-found'], path)
      checkRefusal(t, await get(path, []), [401, 'missing-token'], path)
    }
  }
})

t.test('the documentation opens no way around the guards or out of its folder', async (t) => {
  const targets = [
    '/docs/../accounts',
    '/docs/%2e%2e/accounts',
    '/docs/x/../../livez',
    '/docs/../transfers/x',
    '/docs/../problems/not-found',
    '/docs/../docs/../accounts',
    '/docs/static/../../package.json',
    '/docs/static/%2e%2e%2f%2e%2e%2fpackage.json',
    '/docs/static/..%2f..%2fpackage.json',
    '/docs/static/..%5c..%5cpackage.json',
    '/docs/static/%00',
    '/docs/static/.git/config',
    '/docs/static/nope.js',
    '/docs/accounts',
    '/docs//accounts',
    '/openapi.json/../accounts',
  ]
  for (const target of targets) checkRefusal(t, await get(target, []), unknown, target)
  for (const target of ['/docs', '/docs/', '/openapi.json', '/openapi.yaml', '/docs/static/swagger-ui.css']) {
    t.equal((await get(target, [])).status, 200, target)
  }
})

t.test('no answer depends on the Host field or on what a proxy might add', async (t) => {
  const targets = ['/accounts', '/nowhere', '/%', '/.well-known/oauth-protected-resource', '/openapi.json', '/docs']
  const fields = [
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Proto: gopher',
    'Forwarded: host=evil.example',
    'X-Host: evil.example',
    'X-Forwarded-For: 10.0.0.1',
    'X-Forwarded-Port: 81',
    'X-Forwarded-Prefix: /evil',
    'X-Real-IP: 10.0.0.1',
    'X-Original-URL: /livez',
    'X-Original-Host: evil.example',
    'X-HTTP-Method-Override: POST',
    'Origin: https://evil.example',
    'Referer: https://evil.example/',
  ]
  for (const target of targets) {
    for (const host of ['evil.example', 'evil.example:1', '127.0.0.1', '', '"><script>', 'api.example.com']) {
      const lines = [`GET ${target} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...fields, '', '']
      const answer = await exchangeOne(port, lines.join('\r\n'), { answers: 1 })
      const wire = JSON.stringify([answer.fields, answer.text])
      t.notMatch(
        wire,
        /evil\.example|gopher|><script>|127\.0\.0\.1:\d+\/(?:problems|\.well-known)/,
        `${target}, ${host}`,
      )
      if (answer.status >= 400) t.ok(String(answer.body['type']).startsWith(`${publicUrl}/problems/`))
    }
  }
  // What differs between two answers to one request by itself.
  const lasting = (text: string) => text.replaceAll(/urn:uuid:[0-9a-f-]{36}|[A-Z][a-z]{2}, .{20} GMT/g, '')
  for (const target of [...targets, '/livez', '/transfers', '/problems/not-found']) {
    const bytes = async (host: string, more: readonly string[]) => {
      const lines = [`GET ${target} HTTP/1.1`, `Host: ${host}`, bearer, 'Connection: close', ...more, '', '']
      const { status, fields, text } = await exchangeOne(port, lines.join('\r\n'), { answers: 1 })
      return lasting(JSON.stringify([status, fields, text]))
    }
    const plain = await bytes('api.example.com', [])
    t.equal(await bytes('evil.example', fields), plain, `${target}: every byte is the same`)
  }
  const old = await exchangeOne(port, `GET /accounts HTTP/1.0\r\n${bearer}\r\n\r\n`)
  t.equal(old.status, 200, 'HTTP/1.0 has no Host field')
})

t.test('RFC 9112 §3.2.2: a target in absolute form means its path, and its host nothing', async (t) => {
  t.equal((await get('http://evil.example/accounts')).status, 200)
  t.equal((await get(`${publicUrl}/accounts`)).status, 200)
  const answer = await get('http://evil.example/accounts', [])
  checkRefusal(t, answer, [401, 'missing-token'])
  t.notMatch(JSON.stringify([answer.fields, answer.text]), /evil/)
})

t.test('an address that is percent-encoded for no reason is the same address, behind the same guards', async (t) => {
  t.equal((await get('/%61ccounts')).status, 200)
  checkRefusal(t, await get('/%61ccounts', []), [401, 'missing-token'])
  t.equal((await call('GET', '/livez')).status, 200)
})
