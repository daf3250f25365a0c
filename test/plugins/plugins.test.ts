import { Readable } from 'node:stream'
import type {} from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import {
  accessPolicy,
  accessToken,
  KeysUnavailable,
  LedgerUnavailable,
  LruReplayStore,
  OutcomeUnknown,
  problem,
  Refusal,
  type ReplayStore,
  singleUse,
} from 'stepgate'
import t from 'tap'
import { listenForAdmin } from '#src/plugins/operations.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { publicUrl } from '../helpers/test-api.js'
import { buildService, issuer, noStepUp, OneKey } from './service.js'

t.test('the plugins guard another team’s routes', async (t) => {
  const { call, mint } = await buildService(t)
  t.same(await call('GET', '/read', mint()).then(({ body }) => body), { sub: 'alice' })
  t.same(await call('GET', '/open').then(({ body }) => body), { accessToken: null })
  t.match(await call('GET', '/read'), {
    status: 401,
    problem: 'missing-token',
    headers: { 'www-authenticate': 'Bearer realm="stepgate", scope="read", resource_metadata=' },
  })
  t.match(await call('GET', '/read', mint({ scope: 'pay' })), { status: 403, problem: 'insufficient-scope' })
})

t.test('what stops the boot', async (t) => {
  const clock = new ManualClock()
  const options = { userAuthentication: noStepUp, leewaySeconds: 5, singleUseMaxLifetimeSeconds: 600, clock }
  t.test('an access policy without access tokens', async (t) => {
    const boot = async () => {
      await Fastify().register(accessPolicy, options).ready()
    }
    await t.rejects(boot, /'access-token'.*'access-policy'/s)
  })

  t.test('a step-up that everybody would pass, as a caller without types may write it', async (t) => {
    for (const change of [
      { claim: { name: 'level' } },
      { acrValues: 'mfa' },
      { amr: [''] },
      { maxAgeSeconds: '300' },
    ]) {
      const { app } = await buildService(t)
      const userAuthentication = { ...noStepUp, ...change } as typeof noStepUp
      const boot = async () => {
        await app.register(async (scope) => {
          await scope.register(accessPolicy, { ...options, userAuthentication })
        })
      }
      await t.rejects(boot, {
        name: 'TypeError',
        message: new RegExp(`^userAuthentication\\.${Object.keys(change)[0]}: must`),
      })
    }
  })

  t.test('single use without an access policy', async (t) => {
    const replayStore = new LruReplayStore({ maxEntries: 1, clock, whenFull: 'refuse' })
    const boot = async () => {
      await Fastify()
        .register(singleUse, { ...options, replayStore, behind: 'nothing' })
        .ready()
    }
    await t.rejects(boot, /'access-policy'.*'single-use'/s)
  })

  t.test('a store that forgets as the last ring', async (t) => {
    const { app } = await buildService(t)
    const replayStore = new LruReplayStore({ maxEntries: 1, clock, whenFull: 'forget' })
    const boot = async () => {
      await app.register(async (scope) => {
        await scope.register(singleUse, { ...options, replayStore, behind: 'nothing' })
      })
    }
    await t.rejects(boot, { message: 'a store that forgets cannot be the last ring' })
  })

  t.test('a route that declares no policy, named', async (t) => {
    const { app } = await buildService(t)
    app.get('/forgotten', async () => 'secret')
    app.route({ method: ['PUT', 'PATCH'], url: '/also', config: {}, handler: async () => 'secret' })
    const boot = async () => {
      await app.ready()
    }
    await t.rejects(boot, { message: /^routes without config\.access: .*GET \/forgotten.*PUT,PATCH \/also/ })
  })

  t.test('and one that was registered before the policy answers nobody', async (t) => {
    const app: FastifyInstance = Fastify()
    t.teardown(() => app.close())
    app.get('/early', async () => 'secret')
    await app.register(problem, { publicUrl, stepUp: { acrValues: [], maxAgeSeconds: undefined } })
    await app.register(accessToken, {
      issuer,
      audience: publicUrl,
      algorithms: ['ES256'],
      scopeClaims: ['scope'],
      issuerClaim: undefined,
      keySource: new OneKey(),
      ...options,
    })
    await app.register(accessPolicy, options)
    const response = await app.inject('/early')
    t.equal(response.statusCode, 500)
    t.notMatch(response.body, 'secret')
  })
})

t.test('a token bound to a transaction is refused where nobody checks transactions', async (t) => {
  const { app, call, mint } = await buildService(t)
  app.post('/step', { config: { access: { scope: 'pay', stepUp: true } } }, async () => ({ paid: true }))
  app.post('/bound', { config: { access: { scope: 'pay', transaction: 'payment_initiation' } } }, async () => ({}))
  for (const url of ['/step', '/bound'] as const) {
    const refused = await call('POST', url, mint({ authorization_details: [{ type: 'payment_initiation' }] }))
    t.match(refused, { status: 403, problem: 'transaction-not-authorized' }, url)
    t.notOk('authorization_details' in refused.body, 'and asking for details would not help')
    t.equal((await call('POST', url, mint())).status, 200, url)
  }
})

t.test('tokens are verified by request.jwtVerify of @fastify/jwt', async (t) => {
  t.test('each once, but one for single use until it comes back spent', async (t) => {
    const verified: string[] = []
    const observe = (request: FastifyRequest): void => {
      const { jwtVerify } = request
      const observed = async (...parameters: unknown[]) => {
        // Called with a callback it is @fastify/jwt that calls itself.
        if (parameters.length === 0) verified.push(`${request.method} ${request.url}`)
        return Reflect.apply(jwtVerify, request, parameters)
      }
      Reflect.set(request, 'jwtVerify', observed)
    }
    const { call, mint } = await buildService(t, { observe })
    const verifications = async (method: 'GET' | 'POST', url: string, token: string, status: number) => {
      verified.length = 0
      t.equal((await call(method, url, token)).status, status)
      return verified.length
    }
    const reader = mint({ scope: 'read' })
    t.equal(await verifications('GET', '/read', reader, 200), 1)
    t.equal(await verifications('GET', '/read', reader, 200), 0)
    t.equal(await verifications('POST', '/pay', reader, 403), 0)
    t.equal(await verifications('POST', '/pay', mint({ scope: 'read' }), 403), 1, 'another token')
    const payer = mint()
    t.equal(await verifications('POST', '/pay', payer, 200), 1)
    t.equal(await verifications('POST', '/pay', payer, 401), 1, 'not remembered for being used')
    t.equal(await verifications('POST', '/pay', payer, 401), 0, 'remembered as spent')
    t.equal(await verifications('GET', '/read', payer, 200), 0)
    const both = mint()
    t.equal(await verifications('GET', '/read', both, 200), 1)
    t.equal(await verifications('POST', '/pay', both, 200), 0)
    t.equal(await verifications('POST', '/pay', both, 401), 0)
  })

  t.test('without it nobody is let in', async (t) => {
    const { call, mint } = await buildService(t, { observe: (request) => Reflect.set(request, 'jwtVerify', undefined) })
    t.match(await call('GET', '/read', mint()), { status: 500, problem: 'internal-error' })
    t.match(await call('POST', '/pay', mint()), { status: 500, problem: 'internal-error' })
  })

  t.test('what it throws is the token’s fault only if it says so', async (t) => {
    const faults: [unknown, number, string][] = [
      [Object.assign(new Error('x'), { code: 'FAST_JWT_INVALID_SIGNATURE' }), 401, 'invalid-token'],
      [Object.assign(new Error('x'), { code: 'FST_JWT_AUTHORIZATION_TOKEN_INVALID' }), 401, 'invalid-token'],
      [new KeysUnavailable('x'), 503, 'keys-unavailable'],
      [new RangeError('x'), 500, 'internal-error'],
      [Object.assign(new Error('x'), { code: 'ENOMEM' }), 500, 'internal-error'],
    ]
    for (const [fault, status, name] of faults) {
      const observe = (request: FastifyRequest) => Reflect.set(request, 'jwtVerify', () => Promise.reject(fault))
      const { call, mint } = await buildService(t, { observe })
      t.match(await call('GET', '/read', mint()), { status, problem: name })
    }
  })
})

t.test('a refusal quotes ids and values as JSON does', async (t) => {
  const app = Fastify({ requestIdHeader: 'x-request-id' })
  t.teardown(() => app.close())
  const acrValues = ['a"b', 'c\\']
  await app.register(problem, { publicUrl, stepUp: { acrValues, maxAgeSeconds: undefined } })
  app.get('/', () => Promise.reject(new Refusal('step-up-required')))
  for (const id of ['plain', 'x","scope":"everything","z":"', '\\', '$&']) {
    const { body } = await app.inject({ url: '/', headers: { 'x-request-id': id } })
    t.match(JSON.parse(body), { instance: `urn:uuid:${id}`, acr_values: acrValues.join(' ') })
    t.notOk('scope' in JSON.parse(body))
  }
})

t.test('a fault is logged with its stack, an outage in one line by names and codes', async (t) => {
  const lines: Record<string, unknown>[] = []
  const app = Fastify({
    logger: { level: 'warn', stream: { write: (line: string) => void lines.push(JSON.parse(line)) } },
  })
  t.teardown(() => app.close())
  await app.register(problem, { publicUrl, stepUp: { acrValues: [], maxAgeSeconds: undefined } })
  const refused = Object.assign(new Error('secret'), { code: 'ECONNREFUSED' })
  const endless = new OutcomeUnknown('secret')
  endless.cause = endless
  const cases: [unknown, number, Record<string, unknown> | undefined][] = [
    [new KeysUnavailable('secret'), 503, undefined],
    [new Refusal('replay-store-unavailable'), 503, undefined],
    [
      new LedgerUnavailable('secret', { cause: refused }),
      503,
      { level: 40, problem: 'ledger-unavailable', outage: 'LedgerUnavailable because of Error ECONNREFUSED' },
    ],
    [new OutcomeUnknown('secret', { cause: 'secret' }), 503, { level: 40, outage: 'OutcomeUnknown' }],
    [endless, 503, { level: 40, outage: Array(5).fill('OutcomeUnknown').join(' because of ') }],
    [new TypeError('odd'), 500, { level: 50, problem: 'internal-error', err: { type: 'TypeError', stack: /odd/ } }],
    [undefined, 500, { level: 50, problem: 'internal-error' }],
  ]
  for (const [index, [fault]] of cases.entries()) app.get(`/${index}`, () => Promise.reject(fault))
  for (const [index, [fault, status, line]] of cases.entries()) {
    lines.length = 0
    t.equal((await app.inject(`/${index}`)).statusCode, status, String(fault))
    t.match(lines, line === undefined ? [] : [line], 'one line, or none where somebody else tells')
    t.equal(lines.length, line === undefined ? 0 : 1)
    t.notMatch(JSON.stringify(lines), 'secret')
    if (status === 503) t.notMatch(JSON.stringify(lines), 'stack')
  }
})

t.test('a token that was verified before', async (t) => {
  t.test('expires in its second, leeway included', async (t) => {
    const { call, clock, mint } = await buildService(t)
    const token = mint({ exp: clock.nowSeconds + 10 })
    t.equal((await call('GET', '/read', token)).status, 200)
    clock.advance(14_999)
    t.equal((await call('GET', '/read', token)).status, 200)
    clock.advance(1)
    t.match(await call('GET', '/read', token), { status: 401, problem: 'expired-token' })
  })

  t.test('is known by the field that it came in, whatever a hook makes of the headers', async (t) => {
    const redact = ({ headers }: FastifyRequest): void => {
      headers.authorization = '[redacted]'
    }
    const remove = ({ headers }: FastifyRequest): void => {
      delete headers.authorization
    }
    for (const observe of [redact, remove]) {
      const { call, mint } = await buildService(t, { observe })
      const token = mint()
      for (let n = 0; n < 2; n += 1) t.equal((await call('GET', '/read', token)).status, 200)
      const other = await call('GET', '/read', undefined, { authorization: '[redacted]' })
      t.match(other, { status: 401, problem: 'missing-token' })
    }
  })

  t.test('is refused with one in the query', async (t) => {
    const { call, mint } = await buildService(t)
    const token = mint()
    t.equal((await call('GET', '/read', token)).status, 200)
    t.match(await call('GET', `/read?access_token=${token}`, token), { status: 400, problem: 'invalid-request' })
  })

  t.test('vouches for no other token with its signature', async (t) => {
    const { call, mint } = await buildService(t)
    const token = mint({ scope: 'pay' })
    t.equal((await call('GET', '/read', token)).status, 403)
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    const forged = Buffer.from(JSON.stringify({ ...claims, scope: 'read' })).toString('base64url')
    t.match(await call('GET', '/read', `${header}.${forged}.${signature}`), { status: 401, problem: 'invalid-token' })
  })

  t.test('is verified again when the keys changed, also while it was being verified', async (t) => {
    const { call, keySource, mint } = await buildService(t)
    const token = mint()
    const { publicKey } = keySource
    keySource.publicKey = async (header) => {
      const found = await publicKey.call(keySource, header)
      keySource.epoch += 1
      keySource.publicKey = async () => undefined
      return found
    }
    t.equal((await call('GET', '/read', token)).status, 200, 'the key was good when it was asked for')
    t.equal((await call('GET', '/read', token)).status, 401, 'and is gone since')
  })
})

t.test('single use with nothing behind the replay store', async (t) => {
  t.test('works once, and a failure that wrote nothing gives the token back', async (t) => {
    const { call, mint, replayStore } = await buildService(t)
    const token = mint()
    t.match(await call('POST', '/pay', token, { 'x-fails': 'yes' }), { status: 500 })
    t.equal(replayStore.size, 0)
    t.match(await call('POST', '/pay', token), { status: 200, body: { paid: true } })
    t.match(await call('POST', '/pay', token), { status: 401, problem: 'token-already-used' })
    const keyed = await call('POST', '/pay', token, { 'idempotency-key': 'a' })
    t.match(keyed, { status: 401, problem: 'token-already-used' }, 'an Idempotency-Key changes nothing')
  })

  t.test('lets nobody in when the store fails without saying why', async (t) => {
    const lastRing: ReplayStore = {
      retention: 'process',
      isReachable: true,
      consume: () => Promise.reject(),
      release: () => Promise.resolve(),
    }
    const { call, mint } = await buildService(t, { lastRing })
    t.match(await call('POST', '/pay', mint()), { status: 500, problem: 'internal-error' })
  })

  t.test('refuses when full of live entries, and goes on when they expire', async (t) => {
    const { call, clock, mint } = await buildService(t, { maxEntries: 2 })
    for (let n = 0; n < 2; n += 1) t.equal((await call('POST', '/pay', mint())).status, 200)
    const token = mint({ exp: clock.nowSeconds + 600 })
    t.match(await call('POST', '/pay', token), {
      status: 503,
      problem: 'replay-store-unavailable',
      headers: { 'retry-after': '5', 'www-authenticate': undefined },
    })
    t.equal((await call('GET', '/read', token)).status, 200, 'reading goes on')
    clock.advance(364_999)
    t.equal((await call('POST', '/pay', token)).status, 503, 'expiry, leeway and a margin of a minute')
    clock.advance(1)
    t.equal((await call('POST', '/pay', token)).status, 200, 'the token that was refused was not used up')
  })

  t.test('refuses a token that expired while the body came: its claim may be forgotten already', async (t) => {
    const { app, call, clock, mint } = await buildService(t)
    const token = mint()
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const body = new Readable({ read: () => undefined })
    // The body is read once the token was accepted.
    const accepted = new Promise<void>((resolve) => {
      body._read = () => resolve()
    })
    const late = app.inject({ method: 'POST', url: '/pay', headers, payload: body })
    await accepted
    t.equal((await call('POST', '/pay', token)).status, 200)
    clock.advance(366_000)
    body.push('{}')
    body.push(null)
    const { statusCode, json } = await late
    t.equal(statusCode, 401)
    t.match(json(), { type: /\/expired-token$/ })
  })

  t.test('refuses tokens that may have been issued before the process started', async (t) => {
    const { call, clock, mint } = await buildService(t)
    const token = mint({ iat: clock.nowSeconds - 1 })
    t.equal(clock.nowMs(), 1_700_000_005_000, 'the leeway has passed since the start')
    t.match(await call('POST', '/pay', token), {
      status: 401,
      problem: 'not-single-use',
      headers: { 'www-authenticate': /error="invalid_token", scope="pay", acr_values="mfa", max_age="60"/ },
    })
    t.equal((await call('GET', '/read', token)).status, 200)
    t.equal((await call('POST', '/pay', mint())).status, 200)
  })
})

t.test('an admin listener whose view fails answers 500 and nothing from inside', async (t) => {
  const fail = () => Promise.reject(new Error('inside'))
  const server = await listenForAdmin(0, { metrics: fail, health: fail })
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const response = await fetch(`http://127.0.0.1:${port}/metrics`)
  t.equal(response.status, 500)
  t.equal(await response.text(), '')
  await t.rejects(listenForAdmin(port, { metrics: fail, health: fail }), { code: 'EADDRINUSE' })
})
