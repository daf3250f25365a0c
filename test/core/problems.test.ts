import { randomUUID } from 'node:crypto'
import t from 'tap'
import { type Challenge, serializeChallenge } from '#src/core/challenge.js'
import { buildProblemDocument, problemDocumentSchema } from '#src/core/problem-document.js'
import { findProblem, isProblemName, type ProblemName, problems } from '#src/core/problems.js'
import { Refusal } from '#src/core/refusal.js'
import { isLoopbackHost, isTrustworthyUrl } from '#src/core/trustworthy-url.js'

const names = Object.keys(problems) as ProblemName[]

t.test('the challenge header', async (t) => {
  const bare: Challenge = { scheme: 'Bearer', realm: 'stepgate', resourceMetadata: 'https://api.example/rm' }
  const full: Challenge = {
    errorDescription: 'Multi-factor authentication is required for transfers',
    maxAgeSeconds: 300,
    acrValues: 'gold silver',
    scope: 'transfer:funds',
    error: 'insufficient_scope',
    ...bare,
  }
  t.equal(serializeChallenge(bare), 'Bearer realm="stepgate", resource_metadata="https://api.example/rm"')
  t.equal(
    serializeChallenge(full),
    'Bearer realm="stepgate", error="insufficient_scope", scope="transfer:funds", acr_values="gold silver", max_age="300", ' +
      'resource_metadata="https://api.example/rm", error_description="Multi-factor authentication is required for transfers"',
    'the order is fixed, with the description last',
  )
  t.match(serializeChallenge({ ...bare, maxAgeSeconds: 0 }), 'max_age="0"', 'zero is a value')
  t.match(
    serializeChallenge({ ...bare, scope: 'a"b\\c' }),
    'scope="a\\"b\\\\c"',
    'RFC 9110 §5.6.4: quotes and backslashes are escaped',
  )
  const left = serializeChallenge({ ...full, scope: undefined, acrValues: undefined, maxAgeSeconds: undefined })
  t.notMatch(left, /scope="|acr_values|max_age/, 'undefined members are left out')
})

t.test('every problem of the table', async (t) => {
  for (const name of names) {
    const { status, title, detail, remedy, error, challenge, retryAfterSeconds } = findProblem(name)
    t.match(name, /^[a-z]+(-[a-z]+)*$/, `${name}: the name is a path segment`)
    t.ok(status >= 400 && status <= 599, `${name}: status`)
    t.notMatch(
      detail,
      /[^\x20-\x21\x23-\x5b\x5d-\x7e]/,
      `${name}: RFC 6750 §3: the detail may stand in error_description`,
    )
    t.notMatch(title, /[^\x20-\x7e]|\.$/, `${name}: the title is plain`)
    t.match(remedy, /\.$/, `${name}: the remedy is a sentence`)
    t.equal(retryAfterSeconds !== undefined, [409, 429, 503].includes(status), `${name}: Retry-After`)
    if (status === 401) t.not(challenge, 'none', `${name}: RFC 9110 §15.5.2: a 401 has a challenge`)
    if (error === undefined) t.ok(challenge === 'none' || name === 'missing-token', `${name}: a challenge has an error`)
    else t.not(challenge, 'none', `${name}: an OAuth error stands in a challenge`)
  }
  const withError = (error: string) => names.filter((name) => findProblem(name).error === error)
  t.ok(
    withError('invalid_token').every((name) => findProblem(name).status === 401),
    'RFC 6750 §3.1: invalid_token is 401',
  )
  t.ok(
    withError('insufficient_scope').every((name) => findProblem(name).status === 403),
    'RFC 6750 §3.1: insufficient_scope is 403',
  )
  t.ok(
    withError('invalid_request').every((name) => findProblem(name).status === 400),
    'RFC 6750 §3.1: invalid_request is 400',
  )
  t.strictSame(withError('insufficient_user_authentication'), ['insufficient-user-authentication'])
})

t.test('names', async (t) => {
  t.equal(isProblemName('invalid-token'), true)
  for (const name of ['', 'Invalid-token', 'toString', 'constructor', '__proto__', 'nothing']) {
    t.equal(isProblemName(name), false, name)
  }
})

t.test('problem documents', async (t) => {
  const requestId = randomUUID()
  const occurrence = { publicUrl: 'https://api.example', requestId }
  for (const name of names) {
    const document = JSON.parse(JSON.stringify(buildProblemDocument(name, occurrence)))
    t.same(problemDocumentSchema.parse(document), document, `${name} fits its schema`)
    t.strictSame(Object.keys(document), ['type', 'title', 'status', 'detail', 'instance'], `${name} has nothing else`)
    t.match(document, { type: `https://api.example/problems/${name}`, instance: `urn:uuid:${requestId}` })
  }
  const challenge: Challenge = {
    scheme: 'Bearer',
    realm: 'stepgate',
    error: 'insufficient_scope',
    scope: 'transfer:funds',
    acrValues: 'gold',
    maxAgeSeconds: 300,
    resourceMetadata: 'https://api.example/rm',
    errorDescription: 'text',
  }
  const fieldFaults = [{ pointer: '/a', expected: 'b' }]
  const document = buildProblemDocument('step-up-required', { ...occurrence, challenge, fieldFaults })
  t.same(problemDocumentSchema.parse(document), document)
  t.match(document, {
    error: 'insufficient_scope',
    error_description: 'text',
    scope: 'transfer:funds',
    acr_values: 'gold',
    max_age: 300,
    resource_metadata: 'https://api.example/rm',
    errors: fieldFaults,
  })
  t.equal(problemDocumentSchema.safeParse({ ...document, extra: 1 }).success, false, 'the schema is closed')
})

t.test('a refusal keeps its cause inside', async (t) => {
  const cause = new Error('inside')
  const refusal = new Refusal('internal-error', { cause, retryAfterSeconds: 1 })
  t.match(refusal, { name: 'Refusal', message: 'internal-error', problem: 'internal-error', cause })
  t.equal(refusal.details.retryAfterSeconds, 1)
  t.strictSame(new Refusal('invalid-token').details, {})
})

t.test('addresses that nobody in between can change', async (t) => {
  const hosts: [string, boolean][] = [
    ['localhost', true],
    ['::1', true],
    ['[::1]', true],
    ['127.0.0.1', true],
    ['127.255.255.254', true],
    ['128.0.0.1', false],
    ['0.0.0.0', false],
    ['127.0.0.1.example', false],
    ['localhost.example', false],
    ['10.127.0.0.1', false],
    ['', false],
  ]
  for (const [host, loopback] of hosts) t.equal(isLoopbackHost(host), loopback, host)
  const addresses: [string, boolean][] = [
    ['https://issuer.example/', true],
    ['http://localhost:1', true],
    ['http://[::1]/', true],
    ['http://127.1/', true],
    ['http://issuer.example/', false],
    ['http://localhost.example/', false],
    ['ftp://localhost/', false],
    ['data:application/json,{}', false],
  ]
  for (const [address, trusted] of addresses) t.equal(isTrustworthyUrl(new URL(address)), trusted, address)
})
