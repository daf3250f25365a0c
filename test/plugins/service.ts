import { createPublicKey, randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import {
  type AccessTokenOptions,
  accessPolicy,
  accessToken,
  idempotency,
  type KeySource,
  LruReplayStore,
  problem,
  type ReplayStore,
  singleUse,
} from 'stepgate'
import type { Test } from 'tap'
import { ManualClock } from '../helpers/manual-clock.js'
import { publicUrl } from '../helpers/test-api.js'
import { type Claims, makeKey, signCompact } from '../helpers/test-issuer.js'

export const issuer = 'https://issuer.example'
const key = makeKey('ES256')
const pem = createPublicKey({ key: key.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString()

/** Nothing but the scope decides. */
export const noStepUp = { acrValues: [], amr: [], claim: undefined, maxAgeSeconds: undefined }

/** Keys as another team may bring them: one that is always there. */
export class OneKey implements KeySource {
  epoch = 1
  state = 'fresh' as const
  fault: Error | undefined

  async publicKey({ kid }: { kid: string }): Promise<string | undefined> {
    if (this.fault !== undefined) throw this.fault
    return kid === key.kid ? pem : undefined
  }

  close(): void {}
}

interface AppOptions {
  maxEntries?: number
  clock?: ManualClock
  /** The last ring, instead of this process's memory. */
  lastRing?: ReplayStore
  /** Sees every request before its token is read. */
  observe?: (request: FastifyRequest) => void
  /** The server, instead of one without TLS. */
  app?: FastifyInstance
  /** What this team adds to how tokens are taken. */
  tokens?: Pick<AccessTokenOptions, 'clientCertificate' | 'dpop'>
}

/** A service of another team: two routes, no ledger, so that the replay store is the last ring. */
export async function buildService(
  t: Test,
  {
    maxEntries = 100,
    clock = new ManualClock(1_700_000_000_000),
    lastRing,
    observe,
    app = Fastify(),
    tokens,
  }: AppOptions = {},
) {
  const keySource = new OneKey()
  const replayStore = new LruReplayStore({ maxEntries, clock, whenFull: 'refuse' })
  t.teardown(() => app.close())
  await app.register(problem, {
    publicUrl,
    stepUp: { acrValues: ['mfa'], maxAgeSeconds: 60 },
    dpop: tokens?.dpop?.mode ?? 'off',
  })
  if (observe !== undefined) app.addHook('onRequest', async (request) => observe(request))
  await app.register(accessToken, {
    issuer,
    audience: publicUrl,
    algorithms: ['ES256'],
    scopeClaims: ['scope'],
    issuerClaim: undefined,
    leewaySeconds: 5,
    keySource,
    clock,
    ...tokens,
  })
  await app.register(accessPolicy, {
    userAuthentication: noStepUp,
    leewaySeconds: 5,
    singleUseMaxLifetimeSeconds: 600,
    clock,
  })
  await app.register(idempotency)
  await app.register(singleUse, { replayStore: lastRing ?? replayStore, clock, leewaySeconds: 5, behind: 'nothing' })
  // From now on tokens are certainly issued after the start, whatever the issuer's clock says within the leeway.
  clock.advance(5000)
  app.get('/read', { config: { access: { scope: 'read' } } }, async (request) => ({
    sub: request.accessToken?.subject,
  }))
  app.post('/pay', { config: { access: { scope: 'pay', singleUse: true } } }, async (request) => {
    if (request.headers['x-fails'] === undefined) return { paid: request.tokenClaim !== null }
    await app.giveBackToken(request)
    await app.giveBackToken(request)
    throw new Error('the payment failed before anything was written')
  })
  app.get('/open', { config: { access: 'public' } }, async (request) => {
    await app.giveBackToken(request)
    return { accessToken: request.accessToken }
  })
  const mint = (changes: Claims = {}): string => {
    const now = clock.nowSeconds
    const claims = {
      iss: issuer,
      aud: publicUrl,
      sub: 'alice',
      client_id: 'app',
      jti: randomUUID(),
      iat: now,
      exp: now + 300,
      scope: 'read pay',
    }
    return signCompact({ alg: 'ES256', typ: 'at+jwt', kid: key.kid }, { ...claims, ...changes }, key)
  }
  const call = async (method: 'GET' | 'POST', url: string, token?: string, headers: Record<string, string> = {}) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await app.inject({ method, url, headers: { ...authorization, ...headers } })
    const { type } = response.json() as { type?: string }
    return {
      status: response.statusCode,
      problem: type?.split('/').at(-1),
      headers: response.headers,
      body: response.json(),
    }
  }
  return { app, call, clock, keySource, mint, replayStore }
}
