import { Client } from 'pg'
import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { Payer, settlePayments } from '../helpers/payments.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { bankEnvironment, mintFor, startServer, until, untilReady } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { isReadyForQuery, startTcpProxy } from '../helpers/tcp-proxy.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const unknown = { status: 503, problem: 'transfer-outcome-unknown', retryAfter: '1' }
const used = { status: 401, problem: 'token-already-used' }
const outage = ['ledger-unavailable', 'transfer-outcome-unknown']

t.test('between the API and PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)
  const where = await postgres.createDatabase()
  const proxy = await startTcpProxy(t, postgres)
  const { url } = await startServer(t, await bankEnvironment(t, issuer.url, { DATABASE_URL: proxy.through(where) }))
  await untilReady({ url })

  /** Clients whose payments are settled at the end of the test. Each test begins with a connection that is idle. */
  async function begin(): Promise<Payer> {
    await untilReady({ url })
    const payer = new Payer(mintFor(issuer))
    await untilConnected(payer)
    return payer
  }

  /** On a busy machine a new connection can take longer than the server waits, and then nothing is sent that could be cut. */
  const untilConnected = (payer: Payer) =>
    until('a payment is booked', async () => (await payer.pay(url)).status === 201)

  async function holdUp(t: Test): Promise<{ letGo: () => Promise<unknown>; untilOneWaits: () => Promise<void> }> {
    const session = new Client({ connectionString: where })
    await session.connect()
    t.teardown(() => session.end())
    await session.query('begin; lock table stepgate.accounts in access exclusive mode')
    const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return {
      letGo: () => session.query('rollback'),
      untilOneWaits: () => until('one waits', async () => (await postgres.query(where, waiting)).length > 0),
    }
  }

  const booked = async (name: string): Promise<number> =>
    (await auditBank(t, where)).transfers.filter(({ payment }) => payment === name).length

  t.test('cut before the statement arrives: unknown, and the key books it now, once', async (t) => {
    const payer = await begin()
    const [keyed, bare] = [payer.prepare(), payer.prepare({ keyed: false })]
    for (const payment of [keyed, bare]) {
      await untilConnected(payer)
      const cut = proxy.cutBeforeRequest('book_transfers')
      t.match(await payer.send(url, payment), unknown)
      await cut
      t.equal(await booked(payment.name), 0)
    }
    t.match(await new Payer(mintFor(issuer)).send(url, { ...bare, answers: [] }), used, 'a bare token stays used')
    t.match(await payer.send(url, keyed), { status: 201, replayed: false })
    await settlePayments(t, payer, { url, where, allowed: outage })
    t.equal(await booked(bare.name), 0)
  })

  t.test('cut after the commit, before the answer: unknown, and the key finds the booking', async (t) => {
    const payer = await begin()
    const [keyed, bare] = [payer.prepare(), payer.prepare({ keyed: false })]
    for (const payment of [keyed, bare]) {
      await untilConnected(payer)
      const cut = proxy.cutBeforeResponse('book_transfers', isReadyForQuery)
      t.match(await payer.send(url, payment), unknown)
      await cut
      t.equal(await booked(payment.name), 1)
    }
    t.match(await new Payer(mintFor(issuer)).send(url, { ...bare, answers: [] }), used)
    t.match(await payer.send(url, keyed), { status: 201, replayed: true })
    await settlePayments(t, payer, { url, where, allowed: outage })
  })

  t.test('slow: answered all the same', async (t) => {
    const payer = await begin()
    proxy.delayMs = 100
    const { status, tookMs } = await payer.pay(url)
    proxy.delayMs = 0
    t.equal(status, 201)
    t.ok(tookMs > 200, `after ${Math.round(tookMs)} ms`)
    await settlePayments(t, payer, { url, where })
  })

  t.test('slower than the deadline: unknown in time, and the key finds the booking', async (t) => {
    const payer = await begin()
    const payment = payer.prepare()
    proxy.delayMs = 900
    const answer = await payer.send(url, payment)
    proxy.delayMs = 0
    t.match(answer, unknown)
    t.ok(answer.tookMs > 1400, `after ${Math.round(answer.tookMs)} ms`)
    t.equal(await booked(payment.name), 1)
    t.match(await payer.send(url, payment), { status: 201, replayed: true })
    await settlePayments(t, payer, { url, where, allowed: outage })
  })

  t.test('half closed by PostgreSQL’s side while it books: unknown, and the key finds what became of it', async (t) => {
    const payer = await begin()
    const { letGo, untilOneWaits } = await holdUp(t)
    const answer = payer.pay(url)
    await untilOneWaits()
    proxy.halfClose('client')
    t.match(await answer, unknown)
    await letGo()
    await settlePayments(t, payer, { url, where, allowed: outage })
  })

  t.test('half closed by PostgreSQL’s side after the commit: unknown, and the key finds the booking', async (t) => {
    const payer = await begin()
    const payment = payer.prepare()
    const closed = proxy.halfCloseBeforeResponse('book_transfers', isReadyForQuery)
    t.match(await payer.send(url, payment), unknown)
    await closed
    t.equal(await booked(payment.name), 1)
    t.match(await payer.send(url, payment), { status: 201, replayed: true })
    await settlePayments(t, payer, { url, where, allowed: outage })
  })

  t.test('half closed by the API’s side while it books: the answer still comes', async (t) => {
    const payer = await begin()
    const { letGo, untilOneWaits } = await holdUp(t)
    const answer = payer.pay(url)
    await untilOneWaits()
    proxy.halfClose('server')
    await letGo()
    t.match(await answer, { status: 201 })
    await settlePayments(t, payer, { url, where, allowed: outage })
  })

  t.test('frozen under load: all are answered in time, and what arrives late books nothing twice', async (t) => {
    const payer = await begin()
    const stop = payer.startPaying(url, 8)
    await until('20 are booked', () => payer.acknowledged.length >= 20)
    proxy.freeze()
    t.teardown(() => proxy.thaw())
    await until('20 are refused', () => payer.count(({ status }) => status === 503) >= 20)
    t.equal((await fetch(`${url}/readyz`)).status, 503)
    proxy.thaw()
    const target = payer.acknowledged.length + 20
    await until('20 more are booked', () => payer.acknowledged.length >= target)
    await stop()
    await settlePayments(t, payer, { url, where, allowed: outage })
  })
})

t.test(
  'between the API and Redis: no fault stops a transfer or lets a token work twice',
  {
    skip: missingService('redis-server'),
  },
  async (t) => {
    const redis = await startRedis(t)
    const proxy = await startTcpProxy(t, redis)
    const environment = await bankEnvironment(t, issuer.url, { REDIS_URL: proxy.through(redis.url) })
    const server = await startServer(t, environment)
    const { url } = server
    const other = (await startServer(t, { ...environment, PORT: (await bankEnvironment(t, issuer.url)).PORT })).url
    const readiness = async (address: string): Promise<string> =>
      ((await (await fetch(`${address}/readyz`)).json()) as { status: string }).status
    const untilWell = async (): Promise<void> => {
      for (const address of [url, other]) await until('Redis is used', async () => (await readiness(address)) === 'ok')
    }
    const outages = (): string[] =>
      server.log
        .filter(({ msg }) => String(msg).startsWith('Redis is out of reach'))
        .map(({ err }) => (err as { stack: string }).stack)
    const admin = redis.createClient()
    t.teardown(() => admin.disconnect())
    const countClaims = async (): Promise<number> => (await admin.keys('stepgate:jti:*')).length
    const payer = new Payer(mintFor(issuer))

    /** A fault, and what nothing but it brings about. */
    interface Fault {
      /** A promise resolves once the fault has met the claim; all other faults are there at once. */
      inject: () => Promise<void> | void
      told?: RegExp
      /** Whether Redis has the claim when the client has its answer. */
      claimed?: boolean
      leastMs?: number
      lasts?: boolean
    }
    const late = /no answer within 150 ms/
    const slowBy = (delayMs: number) => () => {
      proxy.delayMs = delayMs
    }
    const faults: Record<string, Fault> = {
      'cut before the claim arrives': { inject: () => proxy.cutBeforeRequest('PXAT'), told: /./, claimed: false },
      'cut before the answer': { inject: () => proxy.cutBeforeResponse('PXAT'), told: /./, claimed: true },
      'half closed by Redis’ side': { inject: () => proxy.halfClose('client'), told: /./ },
      'half closed by the API’s side': { inject: () => proxy.halfClose('server'), told: /./ },
      'half closed by Redis’ side before the answer': {
        inject: () => proxy.halfCloseBeforeResponse('PXAT'),
        told: /./,
        claimed: true,
      },
      slow: { inject: slowBy(60), claimed: true, leastMs: 120 },
      'slower than the deadline': { inject: slowBy(100), told: late, leastMs: 150, lasts: true },
      frozen: { inject: () => proxy.freeze(), told: late, claimed: false, leastMs: 150, lasts: true },
      'cut for good': { inject: () => proxy.cut(), told: /./, claimed: false, lasts: true },
    }
    for (const [name, { inject, told, claimed, leastMs = 0, lasts }] of Object.entries(faults)) {
      await t.test(name, async (t) => {
        await untilWell()
        const [outagesBefore, claimsBefore] = [outages().length, await countClaims()]
        const injected = inject()
        const payment = payer.prepare({ keyed: false })
        const answer = await payer.send(url, payment)
        t.match(answer, { status: 201 })
        t.ok(answer.tookMs >= leastMs && answer.tookMs < 1000, `after ${Math.round(answer.tookMs)} ms`)
        await injected
        if (claimed !== undefined) t.equal((await countClaims()) - claimsBefore, Number(claimed), 'claims in Redis')
        if (told !== undefined) {
          await until('the outage is told', () => outages().length > outagesBefore)
          t.match(outages()[outagesBefore], told)
        }
        if (lasts) t.equal(await readiness(url), 'degraded')
        for (const address of [other, url]) t.match(await payer.send(address, payment), used)
        proxy.delayMs = 0
        proxy.thaw()
        if (name === 'cut for good') await proxy.heal()
      })
    }
    await untilWell()
    const books = await auditBank(t, environment.DATA_DIR, payer.acknowledged)
    t.equal(books.transfers.length, Object.keys(faults).length)
  },
)

t.test('between a client and the API: a retry with a fresh token and the same key pays once', async (t) => {
  const environment = await bankEnvironment(t, issuer.url)
  const { url } = await startServer(t, environment)
  const proxy = await startTcpProxy(t, { port: Number(environment.PORT) })
  const proxied = proxy.through(url).replace(/\/$/, '')
  const tokens = mintFor(issuer)
  const payer = new Payer(tokens)
  for (const [name, inject, replayed] of [
    ['the answer is lost', () => proxy.cutBeforeResponse('POST /transfers'), true],
    ['the request is lost', () => proxy.cutBeforeRequest('POST /transfers'), false],
  ] as const) {
    await t.test(name, async (t) => {
      const payment = payer.prepare()
      const injected = inject()
      await t.rejects(payer.send(proxied, payment), { message: 'fetch failed' })
      await injected
      const fresh = tokens.transfer()
      await until('the booking is over', async () => {
        const answer = await payer.send(proxied, payment, fresh)
        return answer.status === 201
      })
      t.match(payment.answers.at(-1), { status: 201, replayed })
      const next = payer.prepare()
      t.match(await payer.send(proxied, next, fresh), replayed ? { status: 201 } : used, 'a replay used no token up')
      if (!replayed) t.match(await payer.send(proxied, next), { status: 201 })
    })
  }
  const books = await auditBank(t, environment.DATA_DIR, payer.acknowledged)
  t.equal(books.transfers.length, payer.payments.length)
})
