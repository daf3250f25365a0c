import t, { type Test } from 'tap'
import { readConfig } from '#src/config.js'
import { type ProblemName, problems } from '#src/core/problems.js'
import { parseChallenge } from '../helpers/challenges.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'

const { call, issuer, port, tokens } = await startTestApi(t)
const metadataPath = '/.well-known/oauth-protected-resource'

async function resource(): Promise<string> {
  return String((await call('GET', metadataPath)).body['resource'])
}

/** Checks that the server would not start with this as its own address, and so never publishes it. */
function refuseAddress(t: Test, address: string): void {
  const read = readConfig({ ISSUER: issuer.url, AUDIENCE: publicUrl, PUBLIC_URL: address })
  t.ok('faults' in read && read.faults.every((fault) => fault.includes('PUBLIC_URL')), address)
}

t.test('9728-3.2-1 (RFC 9728 §3.2): the metadata is JSON with exactly what this version does', async (t) => {
  const { status, headers, body } = await call('GET', metadataPath)
  t.equal(status, 200)
  t.match(headers.get('content-type'), /^application\/json(?:; charset=utf-8)?$/)
  t.strictSame(body, {
    resource: publicUrl,
    authorization_servers: [issuer.url],
    scopes_supported: ['read:accounts', 'transfer:funds'],
    bearer_methods_supported: ['header'],
    authorization_details_types_supported: ['payment_initiation'],
    dpop_signing_alg_values_supported: ['ES256', 'Ed25519', 'EdDSA', 'PS256'],
  })
})

t.test('9728-1.2-1 (RFC 9728 §1.2): the resource identifier is https and has no fragment', async (t) => {
  const { protocol, hash } = new URL(await resource())
  t.strictSame([protocol, hash], ['https:', ''])
  for (const address of [`${publicUrl}#x`, `${publicUrl}#`]) refuseAddress(t, address)
})

t.test('9728-1.2-2 (RFC 9728 §1.2): the resource identifier has no query', async (t) => {
  t.equal(new URL(await resource()).search, '')
  for (const address of [`${publicUrl}?`, `${publicUrl}?a=b`]) refuseAddress(t, address)
})

t.test('9728-2-1 (RFC 9728 §2): resource is what is configured, whatever host is asked', async (t) => {
  for (const host of ['evil.example', 'api.example.com:8443']) {
    const bytes = rawRequest('GET', metadataPath).replace(/Host: .*/, `Host: ${host}`)
    t.equal((await exchangeOne(port, bytes)).body['resource'], publicUrl)
  }
})

t.test('9728-3-1 (RFC 9728 §3): the metadata stands at the well-known address made from the identifier', async (t) => {
  const { origin, pathname } = new URL(await resource())
  const address = new URL(`${origin}/.well-known/oauth-protected-resource${pathname.replace(/\/$/, '')}`)
  t.equal(address.origin, publicUrl)
  t.equal((await call('GET', address.pathname)).status, 200)
  checkRefusal(t, await call('GET', `${address.pathname}/accounts`), [404, 'unknown-path'])
})

t.test('9728-3-2 (RFC 9728 §3): the suffix is the one that §8.3.1 registers, and no other serves', async (t) => {
  const { challenge } = await call('GET', '/accounts')
  t.match(challenge, `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource"`)
  for (const suffix of ['protected-resource', 'stepgate-protected-resource', 'oauth-authorization-server'])
    checkRefusal(t, await call('GET', `/.well-known/${suffix}`), [404, 'unknown-path'], suffix)
})

t.test('9728-3-3 (RFC 9728 §3): the description of the API says which suffix it uses', async (t) => {
  const { body } = await call('GET', '/openapi.json')
  const wellKnown = Object.keys(body['paths'] as object).filter((path) => path.startsWith('/.well-known/'))
  t.strictSame(wellKnown, [metadataPath])
})

t.test('9728-3.2-3 (RFC 9728 §3.2): a parameter without values is left out', async (t) => {
  const { body } = await call('GET', metadataPath)
  for (const [name, value] of Object.entries(body)) {
    t.ok(value !== null && value !== '' && !(Array.isArray(value) && value.length === 0), name)
  }
})

t.test('9728-3.3-1 (RFC 9728 §3.3): resource is the address that the metadata was found under', async (t) => {
  const { challenge } = await call('GET', '/accounts')
  const address = new Map(parseChallenge(challenge ?? '').parameters).get('resource_metadata') ?? ''
  t.equal(address.replace('/.well-known/oauth-protected-resource', ''), await resource())
})

t.test('9728-5.1-1 (RFC 9728 §5.1): every challenge leads to the metadata', async (t) => {
  for (const [method, path, options] of [
    ['GET', '/accounts', {}],
    ['GET', '/accounts', { token: 'x' }],
    ['GET', '/accounts', { headers: { authorization: 'Bearer' } }],
    ['POST', '/transfers', { token: tokens.read(), json: transferBody() }],
    ['POST', '/transfers', { token: tokens.transfer({ acr: 'x' }), json: transferBody() }],
  ] as const) {
    const { status, body, challenges } = await call(method, path, options)
    t.equal(challenges.length, status === 401 ? 2 : 1, 'a 401 offers DPoP as well')
    for (const challenge of challenges) {
      const named = new Map(parseChallenge(challenge).parameters).get('resource_metadata')
      t.equal(named, `${publicUrl}${metadataPath}`, challenge)
      t.equal(body['resource_metadata'], named)
    }
  }
  t.equal((await call('GET', metadataPath)).status, 200, 'and it is there')
})

t.test('9728-2-4 (RFC 9728 §2): the scopes named are the scopes that the challenges ask for', async (t) => {
  const { body } = await call('GET', metadataPath)
  const read = await call('GET', '/accounts')
  const transfer = await call('POST', '/transfers', { json: transferBody() })
  t.strictSame(body['scopes_supported'], [read.body['scope'], transfer.body['scope']])
})

t.test('RFC 9728 §2: the metadata and what needs no token ignore a token, good or bad', async (t) => {
  for (const path of [metadataPath, '/livez', '/problems/not-found', '/openapi.json']) {
    const authorization = ['Bearer x', 'Bearer', 'Basic x', `Bearer ${tokens.read()}`, '']
    for (const value of authorization) {
      const answer = await call('GET', path, { headers: { authorization: value } })
      t.strictSame([answer.status, answer.challenge], [200, null], `${path} with ${value.slice(0, 10)}`)
    }
    t.equal((await call('GET', `${path}?access_token=x`)).status, 200, path)
  }
})

t.test('RFC 9457 §3: type, title, status, detail and instance, and no member that is undefined', async (t) => {
  const answer = await call('GET', '/nowhere')
  checkRefusal(t, answer, [404, 'unknown-path'])
  t.strictSame(Object.keys(answer.body).sort(), ['detail', 'instance', 'status', 'title', 'type'])
  const { title, detail } = problems['unknown-path']
  t.match(answer.body, { title, detail })
})

t.test('RFC 9457 §3.1.1: type is an address that answers with a page for people', async (t) => {
  for (const name of Object.keys(problems) as ProblemName[]) {
    const response = await call('GET', `/problems/${name}`)
    t.equal(response.status, 200, name)
    t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
    t.match(response.headers.get('content-security-policy'), /^default-src 'none'/)
    t.equal(response.headers.get('x-content-type-options'), 'nosniff')
  }
})

t.test('RFC 9457 §3.1.1: the page says in words what the problem is, and what to do', async (t) => {
  const { url } = await startTestApi(t, { issuer })
  for (const [name, { title, status, detail }] of Object.entries(problems)) {
    const page = await (await fetch(`${url}/problems/${name}`)).text()
    for (const text of [title, String(status), detail, name, 'What to do']) {
      t.ok(page.includes(text.replaceAll('"', '&quot;')), `${name}: ${text}`)
    }
    t.notMatch(page, /undefined|\[object|<script/)
  }
})

t.test('RFC 9457 §3.1.5: instance is a URN of its own for each occurrence, and never an address', async (t) => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => call('GET', '/accounts/x', { token: tokens.read() })),
  )
  const instances = answers.map(({ body }) => String(body['instance']))
  t.equal(new Set(instances).size, instances.length)
  for (const instance of instances)
    t.match(instance, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

t.test('RFC 9457 §3.1.4: detail is the same for everybody who meets the problem', async (t) => {
  for (const token of ['x', tokens.read({ aud: 'x' }), tokens.read({ sub: '' })]) {
    t.match((await call('GET', '/accounts', { token })).body, { detail: 'The access token is invalid' })
  }
})

t.test(
  'RFC 9457 §3.2: errors point into the body with JSON pointers, into the query with a question mark',
  async (t) => {
    const token = tokens.transfer()
    const json = { ...transferBody(), instructedAmount: { currency: 'EUR', amount: '-1' }, creditorName: '' }
    const answer = await call('POST', '/transfers', { token, json })
    checkRefusal(t, answer, [400, 'invalid-input'])
    const pointers = (answer.body['errors'] as { pointer: string }[]).map(({ pointer }) => pointer)
    t.strictSame(pointers.sort(), ['/creditorName', '/instructedAmount/amount'])
    const query = await call('GET', '/accounts/x/transactions?limit=0', { token })
    t.match(query.body, { errors: [{ pointer: '?limit' }] })
  },
)
