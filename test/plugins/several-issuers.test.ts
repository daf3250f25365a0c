import type { AddressInfo } from 'node:net'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import {
  accessPolicy,
  accessToken,
  idempotency,
  JwksKeySource,
  LruReplayStore,
  metadataRoutes,
  notFound,
  problem,
  singleUse,
  zodSchemaController,
} from 'stepgate'
import t, { type Test } from 'tap'
import { ManualClock } from '../helpers/manual-clock.js'
import { type Claims, makeKey, signCompact, TestIssuer } from '../helpers/test-issuer.js'
import { noStepUp } from './service.js'

const audience = 'https://api.example.com'
const leewaySeconds = 5
const clock = new ManualClock()

/** Two issuers whose keys have the same `kid`, as issuers that count their keys do. */
async function startIssuers(t: Test): Promise<[TestIssuer, TestIssuer]> {
  const issuers: [TestIssuer, TestIssuer] = [await TestIssuer.start(), await TestIssuer.start()]
  for (const issuer of issuers) {
    issuer.keys.ES256 = makeKey('ES256', 'key-1')
    issuer.published = [issuer.keys.ES256.jwk]
    t.teardown(() => issuer.stop())
  }
  return issuers
}

function mint(issuer: TestIssuer, changes: Claims = {}, header: object = { typ: 'at+jwt' }): string {
  const times = { iat: clock.nowSeconds, exp: clock.nowSeconds + 300 }
  const claims = { iss: issuer.url, aud: audience, sub: 'alice', jti: '1', ...times, scope: 'read pay' }
  return signCompact({ alg: 'ES256', kid: 'key-1', ...header }, { ...claims, ...changes }, issuer.keys.ES256)
}

/** An API whose staff and customers sign in elsewhere: a context for each issuer, one replay store for both. */
async function startApi(t: Test, [staff, customers]: [TestIssuer, TestIssuer], { ownJwt = false } = {}) {
  const app = Fastify({ schemaController: zodSchemaController })
  const replayStore = new LruReplayStore({ maxEntries: 100, clock, whenFull: 'refuse' })
  if (ownJwt) await app.register(fastifyJwt, { secret: 'the secret of cookies that this team makes itself' })
  await app.register(problem, { publicUrl: audience, stepUp: { acrValues: [], maxAgeSeconds: undefined } })
  const contexts = [
    { prefix: '/staff', issuer: staff.url, profile: 'auth0' },
    { prefix: '/customers', issuer: customers.url, profile: 'rfc9068' },
  ] as const
  for (const { prefix, issuer, profile } of contexts) {
    const keySource = new JwksKeySource({ issuer, jwksUri: undefined, algorithms: ['ES256'], clock })
    t.teardown(() => keySource.close())
    await app.register(
      async (context) => {
        const scopeClaims = ['scope'] as const
        const expected = { issuer, audience, profile, algorithms: ['ES256'], scopeClaims, issuerClaim: undefined }
        await context.register(accessToken, { ...expected, leewaySeconds, keySource, clock })
        const lifetime = { leewaySeconds, singleUseMaxLifetimeSeconds: 600 }
        await context.register(accessPolicy, { userAuthentication: noStepUp, ...lifetime, clock })
        await context.register(idempotency)
        await context.register(singleUse, { replayStore, clock, leewaySeconds, behind: 'nothing' })
        context.get('/me', { config: { access: { scope: 'read' } } }, async ({ accessToken: token }) => ({
          issuer: token?.issuer,
          subject: token?.subject,
          client: token?.clientId,
        }))
        const payment = { config: { access: { scope: 'pay', singleUse: true } } }
        context.post('/payments', payment, async () => ({ paid: true }))
      },
      { prefix },
    )
  }
  const issuers = contexts.map(({ issuer }) => issuer)
  await app.register(metadataRoutes, { publicUrl: audience, issuer: issuers, scopes: ['read', 'pay'] })
  await app.register(notFound)
  if (ownJwt) {
    app.get('/session', async (request) => {
      const [, token = ''] = request.headers.authorization?.split(' ') ?? []
      return { own: app.jwt.verify(token), verified: await request.jwtVerify(), user: request.user }
    })
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  clock.advance(6000)
  const { port } = app.server.address() as AddressInfo
  return async (method: string, path: string, token?: string) => {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers })
    const body = (await response.json()) as Record<string, unknown>
    return { status: response.status, body, problem: String(body['type']).split('/').at(-1), app }
  }
}

for (const ownJwt of [false, true]) {
  t.test(`two issuers in one API${ownJwt ? ', beside a use of @fastify/jwt of its own' : ''}`, async (t) => {
    const [staff, customers] = await startIssuers(t)
    const call = await startApi(t, [staff, customers], { ownJwt })
    const staffToken = (changes: Claims = {}) => mint(staff, { azp: 'intranet', ...changes }, { typ: 'JWT' })
    const customerToken = (changes: Claims = {}) => mint(customers, { client_id: 'app', ...changes })

    t.test('each is known by its own keys and profile, and its subjects are its own', async (t) => {
      const alice = { subject: 'alice' }
      t.match(await call('GET', '/staff/me', staffToken()), {
        status: 200,
        body: { ...alice, issuer: staff.url, client: 'intranet' },
      })
      t.match(await call('GET', '/customers/me', customerToken()), {
        status: 200,
        body: { ...alice, issuer: customers.url, client: 'app' },
      })
    })

    t.test('a token of one is nothing to the other, whatever it claims', async (t) => {
      const invalid = { status: 401, problem: 'invalid-token' }
      const both = { azp: 'x', client_id: 'x' }
      const [forStaff, forCustomers] = [{ typ: 'JWT' }, { typ: 'at+jwt' }]
      for (const iss of [staff.url, customers.url, [staff.url, customers.url]]) {
        t.match(await call('GET', '/staff/me', mint(customers, { ...both, iss }, forStaff)), invalid, `${iss}`)
        t.match(await call('GET', '/customers/me', mint(staff, { ...both, iss }, forCustomers)), invalid, `${iss}`)
      }
      for (let n = 0; n < 2; n += 1) {
        const token = customerToken()
        t.equal((await call('GET', '/customers/me', token)).status, 200)
        t.match(await call('GET', '/staff/me', token), invalid, 'also after the other has verified it')
      }
    })

    t.test('RFC 7519 §4.1.7: a jti is unique to its issuer only', async (t) => {
      for (const [path, token] of [
        ['/staff/payments', staffToken()],
        ['/customers/payments', customerToken()],
      ] as const) {
        t.equal((await call('POST', path, token)).status, 200, path)
        t.match(await call('POST', path, token), { status: 401, problem: 'token-already-used' }, path)
      }
    })

    t.test('RFC 9728 §2: the metadata names both', async (t) => {
      const { body } = await call('GET', '/.well-known/oauth-protected-resource')
      t.strictSame(body['authorization_servers'], [staff.url, customers.url])
    })

    t.test('an issuer that is down takes nothing from the other', async (t) => {
      const stopped = await TestIssuer.start()
      const other = await startApi(t, [stopped, customers])
      const token = mint(stopped, { azp: 'intranet' }, { typ: 'JWT' })
      await stopped.stop()
      t.match(await other('GET', '/staff/me', token), { status: 503, problem: 'keys-unavailable' })
      t.equal((await other('GET', '/customers/me', customerToken())).status, 200)
    })
  })
}

t.test('the plugins leave what else the API does with @fastify/jwt alone', async (t) => {
  const issuers = await startIssuers(t)
  const call = await startApi(t, issuers, { ownJwt: true })
  const { app } = await call('GET', '/staff/me', mint(issuers[0], { azp: 'x' }, { typ: 'JWT' }))
  const session = app.jwt.sign({ session: 1 })
  const own = { session: 1 }
  t.match(await call('GET', '/session', session), { status: 200, body: { own, verified: own, user: own } })
  t.equal((await call('GET', '/staff/me', session)).status, 401)
  t.equal((await call('GET', '/session', mint(issuers[0], { azp: 'x' }, { typ: 'JWT' }))).status, 500)
})

t.test('one context takes one issuer: a second registration stops the boot', async (t) => {
  const [issuer] = await startIssuers(t)
  const keySource = new JwksKeySource({ issuer: issuer.url, jwksUri: undefined, algorithms: ['ES256'], clock })
  t.teardown(() => keySource.close())
  const options = { issuer: issuer.url, audience, algorithms: ['ES256'], leewaySeconds, keySource, clock }
  const expected = { ...options, scopeClaims: ['scope'] as const, issuerClaim: undefined }
  const boot = async () => {
    await Fastify().register(accessToken, expected).register(accessToken, expected).ready()
  }
  await t.rejects(boot, { code: 'FST_ERR_DEC_ALREADY_PRESENT' })
})
