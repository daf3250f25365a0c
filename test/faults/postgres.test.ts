import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { beginTransfer, refusesConnections } from '../helpers/half-request.js'
import { Payer, settlePayments } from '../helpers/payments.js'
import { startPostgres } from '../helpers/postgres-server.js'
import {
  bankEnvironment,
  findFreePort,
  mintFor,
  type ServerProcess,
  startServer,
  until,
  untilReady,
} from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const outage = ['ledger-unavailable', 'transfer-outcome-unknown']

async function statusOf({ url }: ServerProcess, path: string): Promise<number> {
  const response = await fetch(`${url}${path}`)
  await response.text()
  return response.status
}

t.test('PostgreSQL that goes away', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)

  /** A server on a database of its own, and clients that have begun to pay. */
  async function startUnderLoad(t: Test, changes: Record<string, string> = {}) {
    const where = await postgres.createDatabase()
    const server = await startServer(t, await bankEnvironment(t, issuer.url, { DATABASE_URL: where, ...changes }))
    await untilReady(server)
    const payer = new Payer(mintFor(issuer))
    const stop = payer.startPaying(server.url, 16)
    const untilBooked = (more: number): Promise<void> => {
      const target = payer.acknowledged.length + more
      return until(`${more} more are booked`, () => payer.acknowledged.length >= target)
    }
    const untilRefused = (more: number): Promise<void> => {
      const target = payer.count(({ status }) => status === 503) + more
      return until(`${more} more are refused`, () => payer.count(({ status }) => status === 503) >= target)
    }
    await untilBooked(30)
    return { payer, server, stop, untilBooked, untilRefused, where }
  }

  t.test('a server that starts without it refuses what needs it, and recovers without a restart', async (t) => {
    const where = await postgres.createDatabase()
    await postgres.stop()
    const ADMIN_PORT = String(await findFreePort())
    const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: where, LOG_LEVEL: 'info', ADMIN_PORT })
    const server = await startServer(t, environment)
    const health = async () => (await fetch(`http://127.0.0.1:${ADMIN_PORT}/health`)).json()
    await until(
      'the admin port is listened on',
      async () => !(await refusesConnections(`http://127.0.0.1:${ADMIN_PORT}`)),
    )
    t.match(await health(), { ledger: 'unreachable' })
    t.equal(await statusOf(server, '/livez'), 200)
    t.equal(await statusOf(server, '/readyz'), 503)
    const payer = new Payer(mintFor(issuer))
    const payment = payer.prepare()
    t.match(await payer.send(server.url, payment), { status: 503, problem: 'ledger-unavailable', retryAfter: '1' })
    await postgres.start()
    await untilReady(server)
    t.match(await health(), { ledger: 'reachable' })
    t.match(await payer.send(server.url, payment), { status: 201, replayed: false }, 'with the same token')
    await settlePayments(t, payer, { url: server.url, where, allowed: ['ledger-unavailable'] })
    t.equal(await server.stop(), 0)
    const told = server.log.filter(({ msg }) => /^PostgreSQL/.test(String(msg)))
    t.match(told, [
      { level: 40, msg: 'PostgreSQL cannot be prepared yet' },
      { level: 30, msg: 'PostgreSQL is prepared' },
    ])
    t.equal(told.length, 2, 'the outage is told once')
    const again = await startServer(t, environment)
    await untilReady(again)
    const books = await auditBank(t, where, payer.acknowledged)
    t.strictSame(Object.values(books.balances).toSorted(), [20_001n, 99_999n].toSorted(), 'accounts were opened once')
    t.equal(again.stderr + server.stderr, '')
  })

  t.test('killed under load: no acknowledged transfer is lost, and all goes on when it is back', async (t) => {
    const { payer, server, stop, untilBooked, untilRefused, where } = await startUnderLoad(t)
    await postgres.kill()
    await untilRefused(32)
    t.equal(await statusOf(server, '/livez'), 200)
    t.equal(await statusOf(server, '/readyz'), 503)
    await postgres.start()
    await untilBooked(30)
    await stop()
    t.equal(await statusOf(server, '/readyz'), 200)
    await settlePayments(t, payer, { url: server.url, where, allowed: outage })
  })

  t.test('restarted under load: connections are made anew', async (t) => {
    const { payer, server, stop, untilBooked, where } = await startUnderLoad(t)
    await postgres.restart()
    await untilBooked(30)
    await postgres.restart()
    await untilBooked(30)
    await stop()
    await settlePayments(t, payer, { url: server.url, where, allowed: outage })
  })

  t.test('frozen under load: what is under way has an unknown outcome, the rest is refused, all in time', async (t) => {
    const { payer, server, stop, untilBooked, untilRefused, where } = await startUnderLoad(t)
    await postgres.freeze()
    t.teardown(() => postgres.thaw())
    const livezMs = performance.now()
    t.equal(await statusOf(server, '/livez'), 200)
    t.ok(performance.now() - livezMs < 1000, 'the process answers meanwhile, sooner than it gives up on PostgreSQL')
    const readyzMs = performance.now()
    t.equal(await statusOf(server, '/readyz'), 503)
    t.ok(performance.now() - readyzMs < 2500)
    await untilRefused(40)
    const told = new Set(payer.answers.map(({ problem }) => problem))
    t.ok(told.has('transfer-outcome-unknown'), 'those that were under way')
    t.ok(told.has('ledger-unavailable'), 'those that came later')
    postgres.thaw()
    await untilBooked(30)
    await stop()
    await settlePayments(t, payer, { url: server.url, where, allowed: outage })
  })

  t.test('SIGTERM while it is frozen ends the process with 0 within 10 s, and everybody is answered', async (t) => {
    const where = await postgres.createDatabase()
    const server = await startServer(t, await bankEnvironment(t, issuer.url, { DATABASE_URL: where }))
    await untilReady(server)
    const tokens = mintFor(issuer)
    const underWay = await Promise.all(Array.from({ length: 8 }, () => beginTransfer(server.url, tokens.transfer())))
    await postgres.freeze()
    t.teardown(() => postgres.thaw())
    const signalledMs = performance.now()
    const code = server.stop()
    const answers = await Promise.all(underWay.map(({ finish }) => finish()))
    for (const answer of answers) t.match(answer, /^HTTP\/1\.1 503 /)
    t.equal(await code, 0)
    const tookMs = performance.now() - signalledMs
    t.ok(tookMs < 10_000, `after ${Math.round(tookMs)} ms`)
    t.equal(server.stderr, '')
    postgres.thaw()
    await auditBank(t, where)
  })

  t.test('two workers: started without it, killed under load, and each token works once', async (t) => {
    const where = await postgres.createDatabase()
    await postgres.stop()
    const server = await startServer(t, await bankEnvironment(t, issuer.url, { DATABASE_URL: where, WORKERS: '2' }), {
      ownGroup: true,
    })
    t.equal(await statusOf(server, '/readyz'), 503)
    await postgres.start()
    const payer = new Payer(mintFor(issuer))
    await until('a payment is booked', async () => (await payer.pay(server.url)).status === 201)
    const stop = payer.startPaying(server.url, 8)
    await until('20 are booked', () => payer.acknowledged.length >= 20)
    await postgres.kill()
    await postgres.start()
    const target = payer.acknowledged.length + 20
    await until('20 more are booked', () => payer.acknowledged.length >= target)
    await stop()
    const books = await settlePayments(t, payer, { url: server.url, where, allowed: outage })
    t.equal(Object.keys(books.balances).length, 2)
    t.equal(await server.stop(), 0)
  })
})
