import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { fetchJson } from '#src/keys/bounded-fetch.js'
import { discoverJwksUri } from '#src/keys/discovery.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

/** A real deadline takes real time, so both waits run beside the other tests. */
issuer.override = (request, response) => {
  if (request.url === '/body') response.writeHead(200).write('{"keys": [')
  return true
}
const patienceMs = 8000
const waits = ['/headers', '/body'].map(async (path) => {
  const startedMs = performance.now()
  const read = fetchJson(`${issuer.url}${path}`).catch((fault: unknown) => fault)
  const error = await Promise.race([read, delay(patienceMs, 'still waiting', { ref: false })])
  return { path, error, elapsedMs: performance.now() - startedMs }
})

while (issuer.requests.length < waits.length) await new Promise(setImmediate)

/** Collects garbage, because a signal that nobody holds may go with it and never fire. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** Answers these paths so, and every other one with 404. */
function answer(handlers: Record<string, unknown>): void {
  issuer.requests.length = 0
  issuer.override = (request, response) => {
    const handler = handlers[request.url as string]
    if (typeof handler === 'function') (handler as Handler)(request, response)
    else response.writeHead(handler === undefined ? 404 : 200).end(JSON.stringify(handler ?? {}))
    return true
  }
}

t.test('discovery', async (t) => {
  const metadata = (path = '') => ({ issuer: `${issuer.url}${path}`, jwks_uri: `${issuer.url}/keys` })
  const cases: [string, string, string, string[]][] = [
    ['OpenID Connect Discovery §4', '', '/.well-known/openid-configuration', []],
    [
      'OpenID Connect Discovery §4.1: the path stands before',
      '/tenant',
      '/tenant/.well-known/openid-configuration',
      [],
    ],
    ['an issuer that ends with a slash', '/tenant/', '/tenant/.well-known/openid-configuration', []],
    ['RFC 8414 §3', '', '/.well-known/oauth-authorization-server', ['/.well-known/openid-configuration']],
    [
      'RFC 8414 §3.1: the path stands behind',
      '/tenant/one',
      '/.well-known/oauth-authorization-server/tenant/one',
      ['/tenant/one/.well-known/openid-configuration'],
    ],
    [
      'RFC 8414 §3.1: without the slash at the end',
      '/tenant/',
      '/.well-known/oauth-authorization-server/tenant',
      ['/tenant/.well-known/openid-configuration'],
    ],
  ]
  for (const [name, path, address, askedBefore] of cases) {
    t.test(name, async (t) => {
      answer({ [address]: metadata(path) })
      t.equal(await discoverJwksUri(`${issuer.url}${path}`), `${issuer.url}/keys`)
      t.strictSame(issuer.requests, [...askedBefore, address])
    })
  }

  t.test('keys may live elsewhere, on https', async (t) => {
    answer({ '/.well-known/openid-configuration': { ...metadata(), jwks_uri: 'https://keys.example/jwks' } })
    t.equal(await discoverJwksUri(issuer.url), 'https://keys.example/jwks')
  })

  const redirect: Handler = (_request, response) => {
    response.writeHead(302, { location: '/moved' }).end()
  }
  const refused: [string, unknown, RegExp][] = [
    ['RFC 8414 §3.3: another issuer', { ...metadata(), issuer: 'https://evil.example' }, /names another issuer/],
    ['the issuer with a slash', { ...metadata(), issuer: `${issuer.url}/` }, /names another issuer/],
    ['no issuer', { ...metadata(), issuer: undefined }, /names another issuer/],
    ['null', (_: unknown, response: ServerResponse) => response.end('null'), /names another issuer/],
    ['an array', [metadata()], /names another issuer/],
    ['no jwks_uri', { issuer: issuer.url }, /has no jwks_uri/],
    ['a jwks_uri that is no text', { ...metadata(), jwks_uri: [`${issuer.url}/keys`] }, /has no jwks_uri/],
    ['a relative jwks_uri', { ...metadata(), jwks_uri: '/keys' }, /has no jwks_uri/],
    ['a jwks_uri on http', { ...metadata(), jwks_uri: 'http://keys.example/jwks' }, /neither https nor loopback/],
    ['a data: jwks_uri', { ...metadata(), jwks_uri: 'data:application/json,{}' }, /neither https nor loopback/],
    ['a redirect', redirect, /fetch failed/],
    ['an error', (_: unknown, response: ServerResponse) => response.writeHead(500).end('{}'), /answered 500/],
    ['no JSON', (_: unknown, response: ServerResponse) => response.end('<html>'), /JSON/],
  ]
  for (const [name, document, message] of refused) {
    t.test(`${name} is refused`, async (t) => {
      answer({
        '/.well-known/openid-configuration': document,
        '/.well-known/oauth-authorization-server': document,
        '/moved': metadata(),
      })
      const error = (await discoverJwksUri(issuer.url).catch((fault: unknown) => fault)) as AggregateError
      t.match(error, {
        name: 'AggregateError',
        message: `no usable metadata of ${issuer.url}`,
        errors: [{ message }, { message }],
      })
      t.notOk(issuer.requests.includes('/moved'), 'the target of a redirect is not asked')
    })
  }

  t.test('the second document serves where the first is not usable', async (t) => {
    answer({
      '/.well-known/openid-configuration': { ...metadata(), issuer: 'https://evil.example' },
      '/.well-known/oauth-authorization-server': metadata(),
    })
    t.equal(await discoverJwksUri(issuer.url), `${issuer.url}/keys`)
  })
})

t.test('a document within limits', async (t) => {
  const maxBytes = 262_144
  const text = (length: number): string => JSON.stringify('x'.repeat(length - 2))
  const send = (body: string | Buffer, headers = {}): void =>
    answer({ '/': (_: unknown, response: ServerResponse) => response.writeHead(200, headers).end(body) })

  send(text(maxBytes))
  t.equal(((await fetchJson(issuer.url)) as string).length, maxBytes - 2, '256 KiB are read')
  send(text(maxBytes + 1))
  await t.rejects(fetchJson(issuer.url), /more than 262144 bytes/, 'one byte more is not')
  send(gzipSync(text(1000)), { 'content-encoding': 'gzip' })
  t.equal(((await fetchJson(issuer.url)) as string).length, 998)
  const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20))
  t.ok(bomb.length < maxBytes, 'a compressed bomb is small on the wire')
  send(bomb, { 'content-encoding': 'gzip' })
  await t.rejects(fetchJson(issuer.url), /more than 262144 bytes/, 'the limit holds after decompression')

  answer({
    '/': (_: unknown, response: ServerResponse) => {
      const writeOn = (): void => {
        while (!response.destroyed && response.write('x'.repeat(16_384))) {}
      }
      response.on('drain', writeOn)
      writeOn()
    },
  })
  await t.rejects(fetchJson(issuer.url), /more than 262144 bytes/, 'an answer without end is cut off')

  answer({ '/': (_: unknown, response: ServerResponse) => response.writeHead(204).end() })
  await t.rejects(fetchJson(issuer.url), /answered 204/)
  send('')
  await t.rejects(fetchJson(issuer.url), SyntaxError, 'an empty body is no JSON')
})

t.test('an issuer that hangs hits the deadline of five seconds', async (t) => {
  collectGarbage()
  for (const { path, error, elapsedMs } of await Promise.all(waits)) {
    t.match(error, { name: 'TimeoutError' }, `within ${path}`)
    t.ok(elapsedMs >= 4900 && elapsedMs < patienceMs, `after ${Math.round(elapsedMs)} ms`)
  }
})
