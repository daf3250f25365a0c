import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { Payer, settlePayments } from '../helpers/payments.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { bankEnvironment, findFreePort, mintFor, startServer, until, untilReady } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { ibans } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const carolIban = 'NO9386011117947'

t.test('PostgreSQL that is held up or refuses', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t, { settings: { max_connections: '40', superuser_reserved_connections: '0' } })

  /** A server on a database of its own, with an account more: carol's, which is nobody's business. */
  async function startBank(t: Test) {
    const where = await postgres.createDatabase()
    const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: where })
    const file = environment['ACCOUNTS_FILE'] as string
    const carol = { owner: 'carol', iban: carolIban, name: 'Current', currency: 'EUR', balance: '500.00' }
    writeFileSync(file, JSON.stringify([...JSON.parse(readFileSync(file, 'utf8')), carol]))
    const server = await startServer(t, environment)
    await untilReady(server)
    return { environment, payer: new Payer(mintFor(issuer)), server, url: server.url, where }
  }

  async function openSession(t: Test, url: string): Promise<Client> {
    const session = new Client({ connectionString: url })
    session.on('error', () => undefined)
    await session.connect()
    t.teardown(() => session.end())
    return session
  }

  /** Ends the server's connections, so that it has to make new ones. */
  const disconnect = (where: string) =>
    postgres.query(
      where,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'stepgate'`,
    )

  const refused = { status: 503, problem: 'ledger-unavailable', retryAfter: '1' }
  const settledBy = ['ledger-unavailable']

  t.test('a lock that another session holds on an account: refused in time, and the token works after', async (t) => {
    const { payer, url, where } = await startBank(t)
    const session = await openSession(t, where)
    await session.query(`begin; select from stepgate.accounts where iban = '${ibans.bob}' for update`)
    const payment = payer.prepare()
    t.match(await payer.send(url, payment), refused)
    const elsewhere = { body: { creditorAccount: { iban: carolIban } } }
    t.match(await payer.pay(url, elsewhere), { status: 201 }, 'accounts that nobody holds go on')
    const crowd = await Promise.all(Array.from({ length: 20 }, (_, n) => payer.pay(url, n % 2 === 0 ? {} : elsewhere)))
    t.strictSame(
      crowd.filter(({ status }, n) => n % 2 === 0 && status !== 503),
      [],
      'also in a crowd',
    )
    await session.query('rollback')
    t.match(await payer.send(url, payment), { status: 201, replayed: false })
    // A refusal that comes a moment too late, on a machine that is busy, is an unknown outcome, which the same key settles.
    await settlePayments(t, payer, { url, where, allowed: [...settledBy, 'transfer-outcome-unknown'] })
  })

  t.test('an idempotency key that is in use elsewhere: 409, and the token works after', async (t) => {
    const { payer, url, where } = await startBank(t)
    const session = await openSession(t, where)
    const payment = payer.prepare()
    await session.query(
      'select pg_advisory_lock(hashtextextended(concat_ws(chr(31), $1::text, $2::text, $3::text), 0))',
      [issuer.url, 'alice', payment.key],
    )
    const answer = await payer.send(url, payment)
    t.match(answer, { status: 409, problem: 'idempotency-key-in-use', retryAfter: '1' })
    t.ok(answer.tookMs < 2500)
    t.match(await payer.pay(url), { status: 201 }, 'other keys go on')
    await session.query('select pg_advisory_unlock_all()')
    payment.answers = []
    t.match(await payer.send(url, payment), { status: 201, replayed: false })
    await settlePayments(t, payer, { url, where })
  })

  t.test('no connection left: refused, and the token works when there is one', async (t) => {
    const { payer, url, where } = await startBank(t)
    const payment = payer.prepare()
    const hoard: Client[] = []
    const full = async (): Promise<boolean> => {
      const client = new Client({ connectionString: postgres.url() })
      client.on('error', () => undefined)
      return client.connect().then(
        () => hoard.push(client) < 0,
        () => true,
      )
    }
    t.teardown(() => Promise.all(hoard.map((client) => client.end())))
    await until('no connection is left', full)
    const admin = hoard[0] as Client
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'stepgate'`)
    await until('none is left again', full)
    await until('it is refused', async () => (await payer.send(url, payment)).status === 503)
    t.match(payment.answers.at(-1), refused)
    t.equal((await fetch(`${url}/readyz`)).status, 503)
    await Promise.all(hoard.splice(0).map((client) => client.end()))
    await untilReady({ url })
    t.match(await payer.send(url, payment), { status: 201 })
    await settlePayments(t, payer, { url, where, allowed: settledBy })
  })

  t.test('a database that only reads: refused and the token given back', async (t) => {
    const { payer, url, where } = await startBank(t)
    const name = new URL(where).pathname.slice(1)
    const setReadOnly = async (setting: 'on' | 'off'): Promise<void> => {
      await postgres.query(postgres.url(), `alter database ${name} set default_transaction_read_only = ${setting}`)
      await disconnect(where)
    }
    await setReadOnly('on')
    const [keyed, bare] = [payer.prepare(), payer.prepare({ keyed: false })]
    for (const payment of [keyed, bare, keyed, bare]) t.match(await payer.send(url, payment), refused)
    t.equal((await fetch(`${url}/readyz`)).status, 200, 'reads are served')
    await setReadOnly('off')
    for (const payment of [keyed, bare]) t.match(await payer.send(url, payment), { status: 201, replayed: false })
    await settlePayments(t, payer, { url, where, allowed: settledBy })
  })

  t.test('a password that is refused while it runs: an outage that ends by itself', async (t) => {
    const { payer, url, where } = await startBank(t)
    const path = join(postgres.folder, 'data', 'pg_hba.conf')
    const before = readFileSync(path, 'utf8')
    const admit = async (rules: string): Promise<void> => {
      writeFileSync(path, rules)
      await postgres.query(postgres.url(), 'select pg_reload_conf()')
    }
    await admit(`host ${new URL(where).pathname.slice(1)} all 127.0.0.1/32 reject\n${before}`)
    await postgres.query(
      postgres.url(),
      `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'stepgate'`,
    )
    const payment = payer.prepare({ keyed: false })
    await until('it is refused', async () => (await fetch(`${url}/readyz`)).status === 503)
    t.match(await payer.send(url, payment), refused)
    await admit(before)
    await untilReady({ url })
    t.match(await payer.send(url, payment), { status: 201 })
    await auditBank(t, where, payer.acknowledged)
  })

  t.test('opposing transfers between hot accounts, two replicas, 64 clients: no deadlock', async (t) => {
    const { environment, payer, url, where } = await startBank(t)
    const other = await startServer(t, { ...environment, PORT: String(await findFreePort()) })
    await untilReady(other)
    const owners = { alice: ibans.alice, bob: ibans.bob, carol: carolIban }
    let turn = 0
    const opposing = () => {
      turn += 1
      // Every second payment is between alice and bob, there and back; the others go around all three.
      const names = turn % 2 === 0 ? (['alice', 'bob'] as const) : (['bob', 'carol', 'alice'] as const)
      const from = names[turn % names.length] as keyof typeof owners
      const to = names[(turn + 1) % names.length] as keyof typeof owners
      return {
        subject: from,
        body: { debtorAccount: { iban: owners[from] }, creditorAccount: { iban: owners[to] } },
      }
    }
    const stops = [url, other.url].map((address) => payer.startPaying(address, 32, opposing))
    await until('600 are booked', () => payer.acknowledged.length >= 600)
    for (const stop of stops) await stop()
    const [refusals, attempts] = [payer.count(({ status }) => status !== 201), payer.answers.length]
    t.ok(refusals <= attempts / 10, `${refusals} of ${attempts} were refused`)
    await settlePayments(t, payer, { url, where, allowed: settledBy })
    t.strictSame(
      await postgres.query(where, 'select deadlocks::int from pg_stat_database where datname = current_database()'),
      [{ deadlocks: 0 }],
    )
    t.notMatch(postgres.output, 'deadlock detected')
  })
})
