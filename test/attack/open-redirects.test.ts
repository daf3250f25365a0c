import fc from 'fast-check'
import Fastify from 'fastify'
import { requireMultiFactor, toReturnPath } from 'stepgate'
import t from 'tap'
import { ManualClock } from '../helpers/manual-clock.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'

t.test('RFC 9700 §4.11: an address of another site is no return path', (t) => {
  const attacks = [
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\\/evil.example',
    '\\/evil.example',
    'https://evil.example',
    'https:evil.example',
    'https:/evil.example',
    'http:evil.example',
    'javascript:alert(1)',
    'data:text/html,x',
    'evil.example',
    '@evil.example',
    '.evil.example',
    '?next=//evil.example',
    '#//evil.example',
    '/.//evil.example',
    '/..//evil.example',
    '/employees/..//evil.example',
    '/%2e//evil.example',
    '/%2E%2e//evil.example',
    '/%2e%2e/%2e//evil.example',
    '/%2fevil.example',
    '/%2Fevil.example',
    '/%5cevil.example',
    '/%5Cevil.example',
    '/./%2fevil.example',
    '%2f%2fevil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    ' //evil.example',
    ' /employees',
    '/employees\r\nLocation: https://evil.example',
    '/employees\nSet-Cookie: a=b',
    '/employees\0',
    '/employees\u007f',
    '/employees x',
    '/\u2028/evil.example',
    '/\uff0f\uff0fevil.example',
    '/\u3002evil.example',
    '/é',
    '\ufeff//evil.example',
    `/${'a'.repeat(2048)}`,
    '/'.repeat(100_000),
    '',
    undefined,
    null,
    7,
    true,
    ['/employees'],
    ['/employees', '//evil.example'],
    { toString: () => '/employees', length: 1 },
    new String('/employees'),
  ]
  for (const attack of attacks)
    t.equal(toReturnPath(attack), undefined, encodeURIComponent(String(attack)).slice(0, 60))
  t.end()
})

t.test('a path of the app is one, in one spelling', (t) => {
  const paths: [string, string][] = [
    ['/', '/'],
    ['/employees', '/employees'],
    ['/employees?sort=name&page=2', '/employees?sort=name&page=2'],
    ['/employees#salary', '/employees'],
    ['/a/./b/../c', '/a/c'],
    ['/a//b', '/a//b'],
    ['/search?next=//evil.example', '/search?next=//evil.example'],
    ['/@evil.example', '/@evil.example'],
    ['/:80', '/:80'],
    ['/caf%C3%A9', '/caf%C3%A9'],
    [`/${'a'.repeat(2047)}`, `/${'a'.repeat(2047)}`],
  ]
  for (const [given, expected] of paths) t.equal(toReturnPath(given), expected, given.slice(0, 60))
  t.end()
})

t.test('whatever is taken stays on the site, however often it is resolved', (t) => {
  const piece = fc.constantFrom(
    '/',
    '\\',
    '.',
    '..',
    '%2e',
    '%2f',
    '%5c',
    '@',
    ':',
    '?',
    '#',
    'evil.example',
    'https:',
    '\t',
    'a',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`),
  )
  const staying = fc.property(
    text,
    fc.constantFrom('https://app.example', 'http://127.0.0.1:3000/deep/page?x'),
    (value, page) => {
      const path = toReturnPath(value)
      if (path === undefined) return true
      const once = new URL(path, page)
      return once.origin === new URL(page).origin && toReturnPath(path) === path && !/[^!-~]/.test(path)
    },
  )
  t.doesNotThrow(() => fc.assert(staying, { numRuns: 5000 }))
  t.end()
})

t.test('a request target of another site is not handed on', async (t) => {
  const app = Fastify({ routerOptions: { ignoreDuplicateSlashes: true } })
  t.teardown(() => app.close())
  const preHandler = requireMultiFactor({
    claims: () => undefined,
    requirement: { acrValues: ['mfa'], amr: [], claim: undefined, maxAgeSeconds: undefined },
    leewaySeconds: 5,
    clock: new ManualClock(),
  })
  app.get('/*', { preHandler }, async () => 'salaries')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  for (const target of [
    '//evil.example',
    '/\\evil.example',
    '/.//evil.example',
    '/%2fevil.example',
    'http://evil.example/',
  ]) {
    const { status, headers } = await exchangeOne(port, rawRequest('GET', target))
    t.match({ status, location: headers.get('location') }, { status: 303, location: /^\/login\/mfa$/ }, target)
  }
})
