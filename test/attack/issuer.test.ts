import { generateKeyPairSync } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { interceptTimers } from '../helpers/intercepted-timers.js'
import { checkRefusal, refuseToken } from '../helpers/refusals.js'
import { startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { makeKey, type SigningKey, TestIssuer } from '../helpers/test-issuer.js'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const metadataPath = '/.well-known/openid-configuration'
const outage = [503, 'keys-unavailable'] as const

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const sound = issuer.published

/** A key of whoever controls the address that a redirect or false metadata leads to. */
const planted = makeKey('ES256', 'planted')
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })

/** Answers these paths so; the issuer answers all others. */
function misbehave(handlers: Record<string, Handler>): void {
  issuer.override = (request, response) => {
    const handler = handlers[request.url as string]
    handler?.(request, response)
    return handler !== undefined
  }
}

function heal(): void {
  issuer.override = undefined
  issuer.published = sound
  issuer.requests.length = 0
}

const send =
  (body: unknown, status = 200): Handler =>
  (_request, response) =>
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
const redirect: Handler = (_request, response) => response.writeHead(302, { location: '/planted' }).end()
const disconnect: Handler = (_request, response) => response.destroy()
const promiseMore: Handler = (_request, response) => {
  response.writeHead(200, { 'content-length': 1000 }).write('{"keys":[')
  response.destroy()
}
const plantedSet = { keys: [planted.jwk] }

const inMetadata: [string, Handler][] = [
  ['an error', send('{}', 500)],
  ['a redirect', redirect],
  ['a closed connection', disconnect],
  ['half of an answer', promiseMore],
  ['invalid JSON', send('{"issuer":')],
  ['HTML', send('<html></html>')],
  ['null', send('null')],
  ['300 KiB', send({ issuer: issuer.url, jwks_uri: `${issuer.url}/jwks`, more: 'x'.repeat(300_000) })],
  ['RFC 8414 §3.3: another issuer', send({ issuer: 'https://evil.example', jwks_uri: `${issuer.url}/planted` })],
  ['no issuer', send({ jwks_uri: `${issuer.url}/planted` })],
  ['keys on http elsewhere', send({ issuer: issuer.url, jwks_uri: 'http://evil.example/planted' })],
  ['keys in a file', send({ issuer: issuer.url, jwks_uri: 'file:///etc/keys.json' })],
  [
    'keys in the address',
    send({ issuer: issuer.url, jwks_uri: `data:application/json,${encodeURIComponent(JSON.stringify(plantedSet))}` }),
  ],
]
const inKeys: [string, Handler][] = [
  ['an error', send({ keys: sound }, 500)],
  ['a redirect', redirect],
  ['a closed connection', disconnect],
  ['half of an answer', promiseMore],
  ['invalid JSON', send('{"keys":')],
  ['no set', send({ keys: {} })],
  ['an empty set', send({ keys: [] })],
  ['300 KiB', send({ keys: sound, more: 'x'.repeat(300_000) })],
  ['brackets 100,000 deep', send(`{"keys":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)],
  ['only a private key', send({ keys: [{ ...planted.privateKey.export({ format: 'jwk' }), kid: planted.kid }] })],
  ['only a symmetric key', send({ keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: planted.kid, alg: 'ES256' }] })],
  ['only RSA of 1024 bits', send({ keys: [{ ...weak, kid: planted.kid }] })],
  ['only the exponent 1', send({ keys: [{ ...issuer.keys.RS256.jwk, kid: planted.kid, e: 'AQ' }] })],
  ['only a key for encryption', send({ keys: [{ ...planted.jwk, use: 'enc' }] })],
  ['only two keys of one kid', send({ keys: [planted.jwk, makeKey('ES256', planted.kid).jwk] })],
]
const faults = [
  ...inMetadata.map(([name, handler]) => [`${name} as metadata`, { [metadataPath]: handler }] as const),
  ...inKeys.map(([name, handler]) => [`${name} as keys`, { '/jwks': handler }] as const),
].map(([name, handlers]) => [name, { '/planted': send(plantedSet), ...handlers }] as const)

const sign = ({ tokens }: TestApi, key: SigningKey): string => tokens.sign(tokens.claims(), {}, key)
const readiness = async ({ call }: TestApi): Promise<unknown> => (await call('GET', '/readyz')).body['status']

t.test('an issuer that misbehaves from the start: 503, and recovery without a restart', async (t) => {
  // Every fifth, since each takes a server of its own; the next test has them all.
  for (const [name, handlers] of faults.filter((_, index) => index % 5 === 1)) {
    t.test(name, async (t) => {
      heal()
      misbehave(handlers)
      const api = await startTestApi(t, { issuer })
      const { call, clock, tokens } = api
      for (const token of [tokens.read(), sign(api, planted)]) {
        await refuseToken(t, api, token, 'nothing can be verified', { read: outage, transfer: outage })
      }
      t.equal((await call('GET', '/accounts', { token: tokens.read() })).headers.get('retry-after'), '5')
      checkRefusal(t, await call('GET', '/readyz'), outage, 'not ready')
      t.equal((await call('GET', '/livez')).status, 200)
      t.notOk(issuer.requests.includes('/planted'), 'no address is followed that is not to be trusted')
      heal()
      clock.advance(5000)
      const token = tokens.transfer()
      t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 201)
      t.equal(await readiness(api), 'ok')
      await refuseToken(t, api, sign(api, planted), 'a planted key')
    })
  }
})

t.test('an issuer that misbehaves later: its known keys serve, and nothing that it did not sign', async (t) => {
  heal()
  const api = await startTestApi(t, { issuer })
  const { call, clock, tokens } = api
  t.equal((await call('GET', '/accounts', { token: tokens.read() })).status, 200)
  for (const [name, handlers] of faults) {
    t.test(name, async (t) => {
      // A failure of the known address leads through discovery again.
      misbehave({ ...handlers, ...(metadataPath in handlers && { '/jwks': send('{}', 410) }) })
      for (let attempt = 0; attempt < 2; attempt += 1) {
        clock.advance(5000)
        await refuseToken(t, api, sign(api, planted), 'a planted key', { read: outage, transfer: outage })
        t.equal(await readiness(api), 'degraded')
      }
      t.notOk(issuer.requests.includes('/planted'))
      const token = tokens.transfer()
      t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 201)
      heal()
      clock.advance(5000)
      await refuseToken(t, api, sign(api, planted), 'a planted key, once the issuer can be asked')
      t.equal(await readiness(api), 'ok')
    })
  }
})

t.test('an issuer that hangs', async (t) => {
  const timers = interceptTimers(t, [5000])
  heal()
  const api = await startTestApi(t, { issuer })
  const { call, clock, tokens } = api
  const hang = (path: string) =>
    new Promise<void>((resolve) => {
      misbehave({
        [path]: (_request, response) => {
          response.writeHead(200).write('{')
          resolve()
        },
      })
    })
  const asked = hang(metadataPath)
  const [first, second] = [0, 1].map(() => call('GET', '/accounts', { token: tokens.read() }))
  await asked
  t.equal(timers.length, 2, 'one wait and one deadline, for both')
  timers[0]?.ring()
  for (const answer of [first, second]) checkRefusal(t, (await answer) as never, outage, 'after 5 s')
  checkRefusal(t, await call('GET', '/accounts', { token: tokens.read() }), outage, 'then at once')
  t.strictSame(issuer.requests, [metadataPath])
  heal()
  timers[1]?.ring()
  // The refresh that failed has to end before the next one can begin.
  do clock.advance(5000)
  while ((await call('GET', '/accounts', { token: tokens.read() })).status !== 200)

  clock.advance(5000)
  timers.length = 0
  const askedAgain = hang('/jwks')
  const unknown = call('GET', '/accounts', { token: sign(api, planted) })
  await askedAgain
  t.equal((await call('GET', '/accounts', { token: tokens.read() })).status, 200, 'a known key waits for nothing')
  t.equal((await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody() })).status, 201)
  timers[0]?.ring()
  checkRefusal(t, await unknown, outage)
  heal()
  timers[1]?.ring()
})

t.test('1,000 forged kids', async (t) => {
  heal()
  const api = await startTestApi(t, { issuer })
  const { call, clock, tokens } = api
  const known = tokens.read()
  t.equal((await call('GET', '/accounts', { token: known })).status, 200)
  issuer.requests.length = 0
  let forged = 0
  /** Fifty forgers and two customers, once a second. */
  const flood = async (t: Test, seconds: number, status: number) => {
    for (let second = 0; second < seconds; second += 1) {
      clock.advance(1000)
      const forgers = Array.from({ length: 50 }, () => {
        forged += 1
        return call('GET', '/accounts', { token: sign(api, { ...planted, kid: `forged-${forged}` }) })
      })
      const customers = [known, tokens.read()].map((token) => call('GET', '/accounts', { token }))
      t.strictSame([...new Set((await Promise.all(forgers)).map((answer) => answer.status))], [status])
      t.strictSame(
        (await Promise.all(customers)).map((answer) => answer.status),
        [200, 200],
      )
    }
  }

  await t.test('cost the issuer one request in 5 s, and customers nothing', async (t) => {
    await flood(t, 20, 401)
    t.strictSame(issuer.requests, ['/jwks', '/jwks', '/jwks', '/jwks'])
  })

  await t.test('do not hide a new key', async (t) => {
    const rotated = makeKey('ES256')
    issuer.published = [...sound, rotated.jwk]
    await flood(t, 5, 401)
    t.equal((await call('GET', '/accounts', { token: sign(api, rotated) })).status, 200)
  })

  await t.test('cost an issuer that is down one attempt in 5 s', async (t) => {
    misbehave({ '/jwks': send('', 500), [metadataPath]: send('', 500) })
    issuer.requests.length = 0
    clock.advance(4000)
    await flood(t, 20, 503)
    const discoveries = [metadataPath, '/.well-known/oauth-authorization-server']
    t.strictSame(issuer.requests, ['/jwks', ...discoveries, ...discoveries, ...discoveries])
  })
  t.ok(forged > 1000)
})

t.test('a key that was removed stops working with the next refresh, in tokens verified before too', async (t) => {
  const timers = interceptTimers(t, [300_000])
  heal()
  const api = await startTestApi(t, { issuer })
  const { call, clock, keySource, tokens } = api
  const { ES256, EdDSA } = issuer.keys
  const claims = tokens.claims({ exp: clock.nowSeconds + 3600 })
  const [removed, kept] = [tokens.sign(claims, {}, ES256), tokens.sign(claims, {}, EdDSA)]
  const statusOf = async (token: string) => (await call('GET', '/accounts', { token })).status
  for (let round = 0; round < 2; round += 1) t.strictSame([await statusOf(removed), await statusOf(kept)], [200, 200])
  issuer.published = [EdDSA.jwk]
  clock.advance(299_999)
  t.equal(await statusOf(removed), 200, 'before the refresh')
  clock.advance(1)
  const { epoch } = keySource
  timers.at(-1)?.ring()
  while (keySource.epoch === epoch) await new Promise(setImmediate)
  await refuseToken(t, api, removed, 'after the refresh')
  t.equal(await statusOf(kept), 200)

  misbehave({ '/jwks': disconnect })
  clock.advance(5000)
  await refuseToken(t, api, removed, 'in an outage its kid is an unknown one', { read: outage, transfer: outage })
  t.equal(await statusOf(kept), 200)
})

t.test('JWKS_MAX_STALE ends what an outage may last, also for tokens verified before', async (t) => {
  heal()
  const api = await startTestApi(t, { issuer, environment: { JWKS_MAX_STALE: '60' } })
  const { call, clock, tokens } = api
  const token = tokens.read({ exp: clock.nowSeconds + 3600 })
  t.equal((await call('GET', '/accounts', { token })).status, 200)
  t.equal(await readiness(api), 'ok')
  misbehave({ '/jwks': disconnect, [metadataPath]: disconnect })
  clock.advance(30_000)
  t.equal((await call('GET', '/accounts', { token: sign(api, planted) })).status, 503)
  t.equal(await readiness(api), 'degraded')
  clock.advance(30_000)
  t.equal((await call('GET', '/accounts', { token })).status, 200)
  clock.advance(1)
  checkRefusal(t, await call('GET', '/accounts', { token }), outage)
  checkRefusal(t, await call('GET', '/readyz'), outage)
  heal()
  clock.advance(5000)
  t.equal((await call('GET', '/accounts', { token })).status, 200)
  t.equal(await readiness(api), 'ok')
})
