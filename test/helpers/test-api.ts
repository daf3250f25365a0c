import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { buildApp } from '#src/app.js'
import { type Config, readConfig } from '#src/config.js'
import { problemDocumentSchema } from '#src/core/problem-document.js'
import { JwksKeySource } from '#src/keys/key-source.js'
import type { Ledger } from '#src/ledger/ledger.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import type { ReplayStore } from '#src/replay/replay-store.js'
import { healthSchema } from '#src/routes/health.js'
import { metadataSchema } from '#src/routes/metadata.js'
import { accountListSchema, accountSchema, transactionListSchema, transferSchema } from '#src/routes/schemas.js'
import { splitChallenges } from './challenges.js'
import { ManualClock } from './manual-clock.js'
import { type Claims, type SigningKey, signCompact, TestIssuer } from './test-issuer.js'

export const publicUrl = 'https://api.example.com'
export const acrMfa = 'urn:stepgate:acr:mfa'
export const ibans = {
  alice: 'DE89370400440532013000',
  aliceSavings: 'DE02120300000000202051',
  bob: 'GB33BUKB20201555555555',
  yen: 'FR1420041010050500013M02606',
}

const openings = [
  { subject: 'alice', iban: ibans.alice, name: 'Current', currency: 'EUR', balanceMinorUnits: 100_000n },
  { subject: 'alice', iban: ibans.aliceSavings, name: 'Savings', currency: 'EUR', balanceMinorUnits: 500_000n },
  { subject: 'bob', iban: ibans.bob, name: 'Current', currency: 'EUR', balanceMinorUnits: 20_000n },
  { subject: 'alice', iban: ibans.yen, name: 'Yen', currency: 'JPY', balanceMinorUnits: 30_000n },
]

/** A parsed answer. Every JSON body was held against its schema, strictly, before a test sees it. */
export interface Answer {
  status: number
  headers: Headers
  body: Record<string, unknown>
  /** The first line of the challenge: Bearer's, unless only DPoP helps. */
  challenge: string | null
  challenges: string[]
}

export interface CallOptions {
  token?: string
  headers?: Record<string, string>
  json?: unknown
}

export interface TestApiOptions {
  environment?: Record<string, string>
  issuer?: TestIssuer
  clock?: ManualClock
  ledger?: (ledger: SqliteLedger) => Ledger
  replayStore?: ReplayStore
  proofReplayStore?: ReplayStore
}

/** The whole resource server on a free port, with a real issuer, a real ledger in a folder of its own and a clock to step. */
export async function startTestApi(t: Pick<Test, 'teardown'>, options: TestApiOptions = {}) {
  const clock = options.clock ?? new ManualClock()
  const issuer = options.issuer ?? (await TestIssuer.start())
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-test-'))
  const config = testConfig(issuer, folder, options.environment)
  const sqlite = await SqliteLedger.open(folder)
  await sqlite.openAccounts(issuer.url, openings)
  const ledger = options.ledger?.(sqlite) ?? sqlite
  const replayStore =
    options.replayStore ?? new LruReplayStore({ maxEntries: config.REPLAY_CACHE_SIZE, clock, whenFull: 'forget' })
  const keySource = new JwksKeySource({
    issuer: config.ISSUER,
    jwksUri: config.JWKS_URI,
    algorithms: config.ALGORITHMS,
    clock,
    maxStaleSeconds: config.JWKS_MAX_STALE,
  })
  const { proofReplayStore } = options
  const app = await buildApp(config, {
    clock,
    keySource,
    ledger,
    replayStore,
    ...(proofReplayStore === undefined ? {} : { proofReplayStore }),
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
    keySource.close()
    await sqlite.close()
    if (options.issuer === undefined) await issuer.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const { port } = app.server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`

  async function call(method: string, path: string, { token, headers, json }: CallOptions = {}): Promise<Answer> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(json === undefined ? {} : { body: typeof json === 'string' ? json : JSON.stringify(json) }),
    })
    return readAnswer(method, path, response)
  }

  const tokens = new TokenMint(issuer, clock, config.AUDIENCE)
  return { app, call, clock, config, folder, issuer, keySource, ledger, port, replayStore, sqlite, tokens, url }
}

export type TestApi = Awaited<ReturnType<typeof startTestApi>>

function testConfig(issuer: TestIssuer, folder: string, environment: Record<string, string> = {}): Config {
  const read = readConfig({
    ISSUER: issuer.url,
    AUDIENCE: publicUrl,
    PUBLIC_URL: publicUrl,
    DATA_DIR: folder,
    LOG_LEVEL: 'silent',
    STEP_UP_ACR_VALUES: acrMfa,
    STEP_UP_MAX_AGE: '300',
    ...environment,
  })
  if ('faults' in read) throw new Error(read.faults.join('; '))
  return read.config
}

/** Parses an answer and holds its body against the schema of its route and status. */
export async function readAnswer(method: string, path: string, response: Response): Promise<Answer> {
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  const body = type.includes('json') ? JSON.parse(text) : {}
  if (response.status >= 400 && method !== 'HEAD') problemDocumentSchema.parse(body)
  else if (response.status < 300 && method !== 'HEAD') schemaOf(method, path)?.parse(body)
  const challenges = splitChallenges(response.headers.get('www-authenticate'))
  return { status: response.status, headers: response.headers, body, challenge: challenges[0] ?? null, challenges }
}

function schemaOf(method: string, path: string) {
  const route = `${method} ${path.replace(/\?.*/, '')}`
  if (route === 'POST /transfers' || route.startsWith('GET /transfers/')) return transferSchema
  if (route === 'GET /accounts') return accountListSchema
  if (/^GET \/accounts\/[^/]+\/transactions$/.test(route)) return transactionListSchema
  if (route.startsWith('GET /accounts/')) return accountSchema
  if (/^GET \/(livez|readyz)$/.test(route)) return healthSchema
  if (route === 'GET /.well-known/oauth-protected-resource') return metadataSchema
  return undefined
}

/** Mints tokens of the test issuer; any claim or header member can be replaced, or left out with undefined. */
export class TokenMint {
  readonly #issuer: TestIssuer
  readonly #clock: ManualClock
  readonly #audience: string

  constructor(issuer: TestIssuer, clock: ManualClock, audience: string) {
    this.#issuer = issuer
    this.#clock = clock
    this.#audience = audience
  }

  /** Claims of a plain login's token. */
  claims(changes: Claims = {}): Claims {
    const now = this.#clock.nowSeconds
    return {
      iss: this.#issuer.url,
      aud: this.#audience,
      sub: 'alice',
      client_id: 'bank-web',
      jti: randomUUID(),
      iat: now,
      exp: now + 300,
      scope: 'read:accounts',
      acr: 'urn:stepgate:acr:pwd',
      auth_time: now,
      ...changes,
    }
  }

  /** A signed token with these claims. */
  sign(claims: Claims, header: Record<string, unknown> = {}, key: SigningKey = this.#issuer.keys.ES256): string {
    return signCompact({ alg: key.alg, typ: 'at+jwt', kid: key.kid, ...header }, claims, key)
  }

  /** A token of a plain login. */
  read(changes: Claims = {}): string {
    return this.sign(this.claims(changes))
  }

  /** A token after multi-factor authentication. */
  transfer(changes: Claims = {}): string {
    return this.sign(this.claims({ scope: 'read:accounts transfer:funds', acr: acrMfa, ...changes }))
  }
}

/** A transfer of 25.00 EUR from alice to bob, with changes. */
export function transferBody(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    debtorAccount: { iban: ibans.alice },
    creditorAccount: { iban: ibans.bob },
    instructedAmount: { currency: 'EUR', amount: '25.00' },
    ...changes,
  }
}

/** Balances by IBAN in minor units, read from the ledger: to show that money moved, or did not. */
export async function balances({ sqlite, issuer }: TestApi): Promise<Record<string, bigint>> {
  const accounts = await Promise.all(
    ['alice', 'bob'].map((subject) => sqlite.accountsOf({ issuer: issuer.url, subject })),
  )
  return Object.fromEntries(accounts.flat().map(({ iban, balanceMinorUnits }) => [iban, balanceMinorUnits]))
}
