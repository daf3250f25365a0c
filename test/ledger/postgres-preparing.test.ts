import { type AddressInfo, createServer } from 'node:net'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { LedgerUnavailable } from '#src/ledger/ledger.js'
import { migrate } from '#src/ledger/postgres/migrate.js'
import { migrations } from '#src/ledger/postgres/migrations.js'
import { PostgresLedger } from '#src/ledger/postgres/postgres-ledger.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { alice, issuer, makeOrder, openings, spentNow } from './orders.js'

/** Hangs up on whoever connects, and counts them. */
async function startHangUp(t: Test) {
  const counted = { attempts: 0, url: '' }
  const server = createServer((socket) => {
    counted.attempts += 1
    socket.on('error', () => undefined).destroy()
  })
  t.teardown(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  counted.url = `postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}/postgres`
  return counted
}

t.test('PostgreSQL before it serves', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)

  async function openSession(t: Test, url: string): Promise<Client> {
    const session = new Client({ connectionString: url })
    session.on('error', () => undefined)
    await session.connect()
    t.teardown(() => session.end())
    return session
  }

  t.test('the database is prepared before anything is served', async (t) => {
    const url = await postgres.createDatabase()
    const seen: unknown[] = []
    const ledger = await PostgresLedger.open({
      url,
      whenPrepared: async (opening) => {
        seen.push(await opening.isReachable(), await opening.openAccounts(issuer, openings))
      },
    })
    t.teardown(() => ledger.close())
    t.strictSame(seen, [false, openings.length])
    t.equal((await ledger.accountsOf(alice)).length, 3)
  })

  t.test('what only an operator can mend is thrown; all else is told, each reason once, and tried again', async (t) => {
    const url = await postgres.createDatabase()
    const poor = url.replace('postgres@', 'poor@')
    await postgres.query(url, 'create role poor login')
    await postgres.query(
      url,
      `create schema old; create function old.current_setting(text) returns text
      language sql as $$ select '140011' $$`,
    )
    await postgres.query(url, 'create role old login; alter role old set search_path = old, pg_catalog')
    await postgres.query(url, 'grant usage on schema old to old')
    await postgres.query(url, 'create role hasty login; alter role hasty set synchronous_commit = off')
    for (const [unusable, message] of [
      [url.replace('postgres@', 'hasty@'), 'synchronous_commit is off: a transfer that was acknowledged could be lost'],
      [
        poor,
        'the user may not create or change the schema stepgate: grant create on the database, or let it own the schema',
      ],
      [url.replace('postgres@', 'old@'), 'PostgreSQL 15 or newer is needed'],
      [url.replace('postgres@', 'nobody:secret@'), 'the database refuses the user or password'],
      [postgres.url('nowhere'), 'the database does not exist'],
      ['postgres://user:%E4@127.0.0.1/bank', 'the URL cannot be used: URI malformed'],
    ] as const) {
      await t.rejects(PostgresLedger.open({ url: unusable }), { name: 'UnusableDatabase', message })
    }
    const told: unknown[] = []
    let faults = 2
    const whenPrepared = async (): Promise<void> => {
      faults -= 1
      if (faults >= 0) throw new LedgerUnavailable(`fault ${faults}`)
    }
    const ledger = await PostgresLedger.open({ url, whenPrepared, onChange: (fault) => told.push(fault) })
    t.teardown(() => ledger.close())
    await t.rejects(ledger.book(makeOrder()), { name: 'LedgerUnavailable', message: /not prepared yet/ })
    await until('it is prepared', () => ledger.isReachable())
    t.match(told, [{ message: 'fault 1' }, { message: 'fault 0' }, undefined])
    t.equal(told.length, 3)
  })

  t.test('a ledger that is closed while it waits for its database gives up', async (t) => {
    const told: unknown[] = []
    const [server, control] = [await startHangUp(t), await startHangUp(t)]
    const ledger = await PostgresLedger.open({ url: server.url, onChange: (fault) => told.push(fault) })
    t.match(told, [{ message: 'Connection terminated unexpectedly' }])
    await t.rejects(ledger.openAccounts(issuer, openings), LedgerUnavailable)
    const { attempts } = server
    await ledger.close()
    // As long as another ledger takes to try again.
    const other = await PostgresLedger.open({ url: control.url })
    await until('another ledger has tried again', () => control.attempts >= 2)
    await other.close()
    t.equal(server.attempts, attempts, 'none was made after closing')
    t.equal(told.length, 1, 'told once')
  })

  t.test('migrations', async (t) => {
    const applied = (url: string) => postgres.query(url, 'select number from stepgate.migrations order by number')
    t.test('are applied once, however many replicas begin at once', async (t) => {
      const url = await postgres.createDatabase()
      const sessions = await Promise.all(Array.from({ length: 4 }, () => openSession(t, url)))
      await Promise.all(sessions.map((session) => migrate(session)))
      t.strictSame(
        await applied(url),
        migrations.map((_, index) => ({ number: index + 1 })),
      )
    })

    t.test('that fail leave nothing, neither their own nor those before', async (t) => {
      const url = await postgres.createDatabase()
      const session = new Client({ connectionString: url })
      await session.connect()
      await t.rejects(migrate(session, [...migrations, 'create table stepgate.a ()', 'no sql']), { code: '42601' })
      await session.end()
      t.strictSame(await postgres.query(url, `select 1 from pg_namespace where nspname = 'stepgate'`), [])
    })

    t.test('of a newer version are left alone', async (t) => {
      const url = await postgres.createDatabase()
      const session = await openSession(t, url)
      await migrate(session)
      await session.query('insert into stepgate.migrations values (99, now())')
      const ledger = await PostgresLedger.open({ url })
      t.teardown(() => ledger.close())
      await ledger.openAccounts(issuer, openings)
      t.match(await ledger.book(makeOrder()), spentNow)
      t.equal((await applied(url)).length, migrations.length + 1)
    })
  })
})
