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
    await until('a payment is booked', async () => (await payer.pay(url)).status === 201)
    return payer
  }

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
    const { url } = await startServer(t, environment)
    const other = (await startServer(t, { ...environment, PORT: (await bankEnvironment(t, issuer.url)).PORT })).url
    const isWell = async (address: string): Promise<boolean> =>
      ((await (await fetch(`${address}/readyz`)).json()) as { status: string }).status === 'ok'
    const payer = new Payer(mintFor(issuer))
    const faults: [string, () => Promise<unknown>][] = [
      ['cut before the claim arrives', async () => void proxy.cutBeforeRequest('PXAT')],
      ['cut before the answer', async () => void proxy.cutBeforeResponse('PXAT')],
      ['half closed by Redis’ side', async () => proxy.halfClose('client')],
      ['half closed by the API’s side', async () => proxy.halfClose('server')],
      ['slow', async () => Object.assign(proxy, { delayMs: 60 })],
      ['frozen', async () => proxy.freeze()],
      ['cut for good', async () => proxy.cut()],
    ]
    for (const [name, inject] of faults) {
      await t.test(name, async (t) => {
        for (const address of [url, other]) await until('Redis is used', () => isWell(address))
        await inject()
        const payment = payer.prepare({ keyed: false })
        const answer = await payer.send(url, payment)
        t.match(answer, { status: 201 })
        t.ok(answer.tookMs < 1000, `after ${Math.round(answer.tookMs)} ms`)
        for (const address of [other, url]) t.match(await payer.send(address, payment), used)
        proxy.delayMs = 0
        proxy.thaw()
        if (name === 'cut for good') await proxy.heal()
      })
    }
    for (const address of [url, other]) await until('Redis is used', () => isWell(address))
    const books = await auditBank(t, environment.DATA_DIR, payer.acknowledged)
    t.equal(books.transfers.length, faults.length)
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
