import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import t from 'tap'
import { migrate } from '#src/ledger/postgres/migrate.js'
import { migrations } from '#src/ledger/postgres/migrations.js'
import { auditBank } from '../helpers/bank-audit.js'
import { Payer, settlePayments } from '../helpers/payments.js'
import { startPostgres } from '../helpers/postgres-server.js'
import {
  bankEnvironment,
  findFreePort,
  mintFor,
  runServer,
  startServer,
  until,
  untilReady,
} from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

t.test('servers that start on PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)

  t.test('what only an operator can mend is one line on stderr and exit code 1, without the password', async (t) => {
    const where = await postgres.createDatabase()
    const as = (user: string) => where.replace('postgres@', `${user}@`)
    await postgres.query(
      where,
      `create role guarded login password 'right-secret';
       create role poor login;
       create role hasty login; alter role hasty set synchronous_commit = off;
       create schema old; create function old.current_setting(text) returns text language sql as $$ select '140011' $$;
       create role old login; alter role old set search_path = old, pg_catalog; grant usage on schema old to old`,
    )
    const rules = join(postgres.folder, 'data', 'pg_hba.conf')
    writeFileSync(rules, `host all guarded 127.0.0.1/32 scram-sha-256\n${readFileSync(rules, 'utf8')}`)
    await postgres.query(where, 'select pg_reload_conf()')
    const cases: [string, string][] = [
      [as('guarded:wrong-secret'), 'the database refuses the user or password'],
      [as('nobody:wrong-secret'), 'the database refuses the user or password'],
      [postgres.url('nowhere'), 'the database does not exist'],
      [
        as('poor'),
        'the user may not create or change the schema stepgate: grant create on the database, or let it own the schema',
      ],
      [as('old'), 'PostgreSQL 15 or newer is needed'],
      [as('hasty'), 'synchronous_commit is off: a transfer that was acknowledged could be lost'],
    ]
    for (const [url, message] of cases) {
      for (const WORKERS of url.includes('guarded') ? ['1', '2'] : ['1']) {
        const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: url, WORKERS, LOG_LEVEL: 'trace' })
        const { child, stdout, stderr } = await runServer(t, environment)
        t.equal(stderr, `config: DATABASE_URL: ${message}\n`)
        t.equal(child.exitCode, 1)
        t.notMatch(stdout, /secret/)
      }
    }
    await postgres.query(where, `grant create on database ${new URL(where).pathname.slice(1)} to guarded`)
    const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: as('guarded:right-secret') })
    const server = await startServer(t, environment)
    await untilReady(server)
    t.equal((await new Payer(mintFor(issuer)).pay(server.url)).status, 201, 'and the right one is let in')
    t.equal(await server.stop(), 0)
    t.notMatch(server.stdout + server.stderr, /secret/)
  })

  t.test('four at once on an empty database: one schema, every account once, and a token works once', async (t) => {
    const where = await postgres.createDatabase()
    const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: where })
    const servers = await Promise.all(
      Array.from({ length: 4 }, async () => startServer(t, { ...environment, PORT: String(await findFreePort()) })),
    )
    for (const server of servers) await untilReady(server)
    t.equal((await postgres.query(where, 'select from stepgate.migrations')).length, migrations.length)
    const payer = new Payer(mintFor(issuer))
    const payments = Array.from({ length: 5 }, () => payer.prepare({ keyed: false }))
    const answers = await Promise.all(
      payments.map((payment) => Promise.all(servers.map(({ url }) => payer.send(url, payment)))),
    )
    for (const four of answers) t.strictSame(four.map(({ status }) => status).toSorted(), [201, 401, 401, 401])
    const books = await auditBank(t, where, payer.acknowledged)
    t.strictSame(Object.values(books.balances).toSorted(), [20_005n, 99_995n].toSorted())
    t.equal(books.transfers.length, 5)
  })

  t.test(
    'a newer version may migrate under load: the old one goes on, and so does one that is restarted',
    async (t) => {
      const where = await postgres.createDatabase()
      const environment = await bankEnvironment(t, issuer.url, { DATABASE_URL: where })
      const server = await startServer(t, environment)
      await untilReady(server)
      const payer = new Payer(mintFor(issuer))
      const stop = payer.startPaying(server.url, 8)
      const untilBooked = (more: number): Promise<void> => {
        const target = payer.acknowledged.length + more
        return until(`${more} more are booked`, () => payer.acknowledged.length >= target)
      }
      await untilBooked(20)
      const newer = new Client({ connectionString: where })
      await newer.connect()
      const additions = [
        'alter table stepgate.transfers add column purpose text',
        `alter table stepgate.accounts add column opened_at timestamptz default now();
       alter table stepgate.spent_tokens add column spent_at timestamptz default now();
       alter table stepgate.idempotency_records add column note text;
       create table stepgate.standing_orders (id uuid primary key, account_id uuid references stepgate.accounts (id))`,
      ]
      for (let n = 1; n <= additions.length; n += 1) {
        await migrate(newer, [...migrations, ...additions.slice(0, n)])
        await untilBooked(20)
      }
      await newer.end()
      await stop()
      await settlePayments(t, payer, { url: server.url, where, allowed: ['ledger-unavailable'] })
      t.equal(await server.stop(), 0)
      const again = await startServer(t, environment)
      await untilReady(again)
      t.match(await payer.pay(again.url), { status: 201 })
      await settlePayments(t, payer, { url: again.url, where, allowed: ['ledger-unavailable'] })
      const applied = await postgres.query(where, 'select number from stepgate.migrations')
      t.equal(applied.length, migrations.length + additions.length, 'what is newer is left alone')
    },
  )
})
