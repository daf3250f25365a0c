import Fastify, { type FastifyInstance } from 'fastify'
import {
  type IdTokenClaims,
  isIdTokenSufficient,
  MultiFactorRequired,
  type RequireMultiFactorOptions,
  requireMultiFactor,
  type StepUpAttempt,
  type UserAuthenticationRequirement,
} from 'stepgate'
import t, { type Test } from 'tap'
import { ManualClock } from '../helpers/manual-clock.js'

const acr = 'urn:example:mfa'
const anyLevel: UserAuthenticationRequirement = {
  acrValues: [acr],
  amr: ['mfa'],
  claim: { name: 'authentication_level', value: 'mfa' },
  maxAgeSeconds: undefined,
}

/** A web app with one sensitive page, and with the claims of whoever asks for it. */
async function buildWebApp(
  t: Test,
  idToken: IdTokenClaims | undefined,
  changes: Partial<RequireMultiFactorOptions> = {},
) {
  const clock = new ManualClock(1_700_000_000_000)
  const attempts: StepUpAttempt[] = []
  let served = 0
  const errors: string[] = []
  const stream = { write: (line: string) => void errors.push(JSON.parse(line).err.message) }
  const app: FastifyInstance = Fastify({ logger: { level: 'error', stream } })
  t.teardown(() => app.close())
  const preHandler = requireMultiFactor({
    claims: () => idToken,
    requirement: anyLevel,
    leewaySeconds: 5,
    clock,
    onAttempt: (attempt) => {
      attempts.push(attempt)
    },
    ...changes,
  })
  app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    url: '/employees',
    preHandler,
    handler: async () => {
      served++
      return 'salaries'
    },
  })
  return { app, clock, attempts, errors, served: () => served }
}

t.test('one of acr, amr and the issuer’s claim opens the page, and it is not stored', async (t) => {
  for (const claims of [{ acr }, { amr: ['pwd', 'mfa'] }, { authentication_level: 'mfa' }]) {
    const { app, attempts } = await buildWebApp(t, claims)
    const response = await app.inject('/employees')
    t.equal(response.statusCode, 200, JSON.stringify(claims))
    t.equal(response.body, 'salaries')
    t.equal(response.headers['cache-control'], 'no-store')
    t.strictSame(attempts, [])
  }
})

t.test('claims that do not suffice lead to the step-up and back', async (t) => {
  const cases: Record<string, IdTokenClaims | undefined> = {
    'nobody is signed in': undefined,
    'no claim at all': {},
    'a password only': { acr: 'urn:example:pwd', amr: ['pwd'], authentication_level: 'normal' },
    'acr as an array': { acr: [acr] },
    'acr as an object': { acr: { value: acr, toString: () => acr } },
    'acr as null': { acr: null },
    'an empty acr': { acr: '' },
    'acr in another case': { acr: acr.toUpperCase() },
    'amr as a string': { amr: 'mfa' },
    'amr as an object': { amr: { 0: 'mfa', length: 1 } },
    'no amr in the array': { amr: [] },
    'amr with an odd member': { amr: ['mfa', 1] },
    'the claim as an array': { authentication_level: ['mfa'] },
    'the claim as undefined': { authentication_level: undefined },
    'claims that are an array': [acr, 'mfa'] as unknown as IdTokenClaims,
    'claims that are a string': acr as unknown as IdTokenClaims,
    'the values under each other’s names': { acr: 'mfa', amr: [acr], authentication_level: acr },
    'claims that are only inherited': Object.create({ acr, amr: ['mfa'], authentication_level: 'mfa' }),
  }
  for (const [name, claims] of Object.entries(cases)) {
    const { app, attempts, served } = await buildWebApp(t, claims)
    const response = await app.inject('/employees?sort=name&page=2')
    t.equal(response.statusCode, 303, name)
    t.equal(response.headers.location, '/login/mfa?return_to=%2Femployees%3Fsort%3Dname%26page%3D2')
    t.equal(response.headers['cache-control'], 'no-store')
    t.strictSame(attempts, [{ isSignedIn: claims !== undefined, returnPath: '/employees?sort=name&page=2' }])
    t.equal(served(), 0)
  }
})

t.test('RFC 9470 §5: auth_time is held against the age that is allowed', async (t) => {
  const requirement = { ...anyLevel, maxAgeSeconds: 300 }
  const clock = new ManualClock(1_700_000_000_000)
  const now = clock.nowSeconds
  const cases: [unknown, number][] = [
    [now, 200],
    [now - 299, 200],
    [now - 301, 303],
    [now + 5, 200],
    [now + 6, 303],
    [undefined, 303],
    [null, 303],
    [String(now), 303],
    [now * 1000, 303],
    [now + 0.5, 303],
    [Number.NaN, 303],
    [Number.POSITIVE_INFINITY, 303],
    [[now], 303],
    [{ valueOf: () => now }, 303],
    [true, 303],
    [now + 86_400, 303],
    [-now, 303],
  ]
  for (const [authTime, status] of cases) {
    const { app } = await buildWebApp(t, { acr, auth_time: authTime }, { requirement, clock })
    t.equal((await app.inject('/employees')).statusCode, status, String(authTime))
  }

  const { app } = await buildWebApp(t, { acr, auth_time: now }, { requirement, clock })
  clock.advance(300_000)
  t.equal((await app.inject('/employees')).statusCode, 200, 'as old as allowed')
  clock.advance(1000)
  t.equal((await app.inject('/employees')).statusCode, 303, 'and then too old, in the same session')

  const weak = await buildWebApp(t, { acr: 'urn:example:pwd', auth_time: now }, { requirement })
  t.equal((await weak.app.inject('/employees')).statusCode, 303, 'a fresh password is not enough')
})

t.test('HEAD is redirected, and any other method is refused, since a redirect would lose its body', async (t) => {
  const { app, attempts, served } = await buildWebApp(t, undefined)
  t.equal((await app.inject({ method: 'HEAD', url: '/employees' })).statusCode, 303)
  for (const method of ['POST', 'PUT', 'DELETE'] as const) {
    const response = await app.inject({ method, url: '/employees' })
    t.match(response, { statusCode: 403, headers: { 'cache-control': 'no-store', location: undefined } }, method)
    t.equal(response.json().message, 'Multi-factor authentication is required')
  }
  t.strictSame(attempts.slice(1), Array(3).fill({ isSignedIn: false, returnPath: undefined }))
  t.equal(served(), 0)
})

t.test('the app’s error handler learns where the step-up is', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler((error, _request, reply) => {
    const path = error instanceof MultiFactorRequired ? error.stepUpPath : 'another error'
    return reply.code(403).send(path)
  })
  const options = {
    claims: () => undefined,
    requirement: anyLevel,
    leewaySeconds: 0,
    clock: new ManualClock(1_700_000_000_000),
  }
  app.post('/pay-rise', { preHandler: requireMultiFactor({ ...options, stepUpPath: '/prove-it' }) }, async () => 'done')
  app.get('/employees', { preHandler: requireMultiFactor({ ...options, stepUpPath: '/prove-it' }) }, async () => 'all')
  t.match(await app.inject({ method: 'POST', url: '/pay-rise' }), { statusCode: 403, body: '/prove-it' })
  const redirected = await app.inject('/employees')
  t.equal(redirected.headers.location, '/prove-it?return_to=%2Femployees', 'without anybody to tell of attempts')
})

t.test('claims may come from a store that is asked, and a fault in it lets nobody in', async (t) => {
  const stored = await buildWebApp(t, undefined, { claims: async () => ({ acr }) })
  t.equal((await stored.app.inject('/employees')).statusCode, 200)
  const broken = await buildWebApp(t, undefined, { claims: () => Promise.reject(new Error('store is down')) })
  t.equal((await broken.app.inject('/employees')).statusCode, 500)
  t.equal(broken.served(), 0)
})

t.test('a fault of the app’s own lets nobody in, is logged, and leaves the process alive', async (t) => {
  const requirement = { ...anyLevel, maxAgeSeconds: 300 }
  const failing = (): never => {
    throw new Error('the log is full')
  }
  const faults: Record<string, Partial<RequireMultiFactorOptions>> = {
    'onAttempt throws': { onAttempt: failing },
    'onAttempt is rejected': { onAttempt: async () => failing() },
    'onAttempt is rejected later': { onAttempt: () => new Promise<void>(setImmediate).then(failing) },
    'the clock throws': { requirement, clock: { nowMs: failing } },
    'claims throws': { claims: failing },
  }
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  for (const [name, changes] of Object.entries(faults)) {
    for (const method of ['GET', 'POST'] as const) {
      const { app, errors, served } = await buildWebApp(t, { acr: 'weak', auth_time: 1_700_000_000 }, changes)
      const response = await app.inject({ method, url: '/employees' })
      t.match(response, { statusCode: 500, headers: { 'cache-control': 'no-store', location: undefined } }, name)
      t.strictSame(errors, ['the log is full'], `${name}: it is logged`)
      t.equal(served(), 0)
    }
  }
  const lost = await buildWebApp(
    t,
    { acr, auth_time: 1_700_000_000 },
    { requirement, clock: { nowMs: () => Number.NaN } },
  )
  t.equal((await lost.app.inject('/employees')).statusCode, 303, 'a clock that has lost the time')
  await new Promise(setImmediate)
  t.strictSame(unhandled, [])
})

t.test('the person is sent away only once the attempt is written down', async (t) => {
  const order: string[] = []
  const { app } = await buildWebApp(t, undefined, {
    onAttempt: async () => {
      await new Promise(setImmediate)
      order.push('written')
    },
  })
  app.addHook('onSend', async () => void order.push('sent'))
  await app.inject('/employees')
  t.strictSame(order, ['written', 'sent'])
})

t.test('the way back is the address that the browser asked for, before rewriteUrl', async (t) => {
  const app = Fastify({ rewriteUrl: ({ url = '' }) => url.replace(/^\/intranet(?=\/)/, '') })
  t.teardown(() => app.close())
  const preHandler = requireMultiFactor({
    claims: () => undefined,
    requirement: anyLevel,
    leewaySeconds: 5,
    clock: new ManualClock(),
    stepUpPath: '/intranet/login/mfa',
  })
  app.get('/employees', { preHandler }, async () => 'salaries')
  const { headers } = await app.inject('/intranet/employees?page=2')
  t.equal(headers.location, '/intranet/login/mfa?return_to=%2Fintranet%2Femployees%3Fpage%3D2')
})

t.test('what would let everybody in, or send people elsewhere, does not start', async (t) => {
  const options = {
    claims: () => undefined,
    requirement: anyLevel,
    leewaySeconds: 5,
    clock: new ManualClock(1_700_000_000_000),
  }
  const nothing = { acrValues: [], amr: [], claim: undefined, maxAgeSeconds: 300 }
  t.throws(() => requireMultiFactor({ ...options, requirement: nothing }), {
    name: 'TypeError',
    message: 'requirement: must name acr values, amr values or a claim',
  })

  const requirement = (change: object) => ({ requirement: { ...anyLevel, ...change } })
  const notTexts = [undefined, null, 'mfa', '', 7, { 0: 'mfa', length: 1 }, [''], ['mfa', undefined], [['mfa']]]
  const noClaims = [null, 'authentication_level', {}, { name: 'level' }, { value: 'mfa' }, { name: 'level', value: '' }]
  const notSeconds = [null, '300', -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]
  const faults: [option: string, changes: object[]][] = [
    ['requirement', [undefined, null, 'mfa'].map((value) => ({ requirement: value }))],
    ['requirement.acrValues', notTexts.map((acrValues) => requirement({ acrValues }))],
    ['requirement.amr', notTexts.map((amr) => requirement({ amr }))],
    ['requirement.claim', noClaims.map((claim) => requirement({ claim }))],
    [
      'requirement.claim',
      [
        { name: '', value: 'mfa' },
        { name: 'level', value: true },
      ].map((claim) => requirement({ claim })),
    ],
    ['requirement.maxAgeSeconds', notSeconds.map((maxAgeSeconds) => requirement({ maxAgeSeconds }))],
    ['leewaySeconds', [undefined, ...notSeconds].map((leewaySeconds) => ({ leewaySeconds }))],
    ['clock', [undefined, null, {}, { nowMs: 7 }].map((clock) => ({ clock }))],
    ['claims', [undefined, null, { acr }].map((claims) => ({ claims }))],
    ['onAttempt', [null, 'log'].map((onAttempt) => ({ onAttempt }))],
    ['stepUpPath', [null, 7, ['/login/mfa']].map((stepUpPath) => ({ stepUpPath }))],
  ]
  for (const [option, changes] of faults) {
    for (const change of changes) {
      const given = { ...options, ...change } as RequireMultiFactorOptions
      const message = new RegExp(`^${option.replace('.', '\\.')}: must `)
      t.throws(() => requireMultiFactor(given), { name: 'TypeError', message }, JSON.stringify(change))
      if (!/requirement|leewaySeconds|clock/.test(option)) continue
      t.throws(
        () => isIdTokenSufficient({ acr }, given),
        { name: 'TypeError', message },
        'nor is anything decided by it',
      )
    }
  }
  t.doesNotThrow(() => requireMultiFactor({ ...options, ...requirement({ maxAgeSeconds: 0 }), leewaySeconds: 0 }))

  for (const stepUpPath of [
    'https://evil.example',
    '//evil.example',
    'login',
    '/login/../mfa',
    '/login?kind=mfa',
    '',
  ]) {
    t.throws(() => requireMultiFactor({ ...options, stepUpPath }), { name: 'TypeError' }, stepUpPath)
  }
})

t.test('the same decision for the app’s own use', (t) => {
  const policy = { requirement: anyLevel, leewaySeconds: 5, clock: new ManualClock(1_700_000_000_000) }
  t.equal(isIdTokenSufficient({ acr }, policy), true)
  t.equal(isIdTokenSufficient({ acr: 'weak' }, policy), false)
  t.equal(isIdTokenSufficient(undefined, policy), false)
  t.equal(isIdTokenSufficient(null, policy), false)
  const nothing = { acrValues: [], amr: [], claim: undefined, maxAgeSeconds: undefined }
  const undecided = () => isIdTokenSufficient({ acr }, { ...policy, requirement: nothing })
  t.throws(undecided, { name: 'TypeError' }, 'a requirement that everybody would meet')
  t.end()
})
