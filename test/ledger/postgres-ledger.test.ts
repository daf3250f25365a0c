import { Client } from 'pg'
import t, { type Test } from 'tap'
import { LedgerUnavailable } from '#src/ledger/ledger.js'
import { UnusableDatabase } from '#src/ledger/postgres/faults.js'
import { migrate } from '#src/ledger/postgres/migrate.js'
import { migrations } from '#src/ledger/postgres/migrations.js'
import { PostgresLedger } from '#src/ledger/postgres/postgres-ledger.js'
import { pruneAll } from '#src/ledger/pruning.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { startTcpProxy } from '../helpers/tcp-proxy.js'
import { testLedgerContract } from './ledger-contract.js'
import {
  alice,
  balancesOf,
  bob,
  digest,
  ibans,
  issuer,
  makeOrder,
  nowMs,
  openings,
  spentNow,
  transferIdOf,
} from './orders.js'

t.test('PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)

  async function openLedger(t: Test, url?: string): Promise<PostgresLedger> {
    const ledger = await PostgresLedger.open({ url: url ?? (await postgres.createDatabase()) })
    t.teardown(() => ledger.close())
    return ledger
  }

  async function openSession(t: Test, url: string): Promise<Client> {
    const session = new Client({ connectionString: url })
    session.on('error', () => undefined)
    await session.connect()
    t.teardown(() => session.end())
    return session
  }

  /** Two ledgers on one database with the accounts, as two replicas have them, and a session that gets in their way. */
  async function openReplicas(t: Test) {
    const url = await postgres.createDatabase()
    const [one, other] = [await openLedger(t, url), await openLedger(t, url)]
    await one.openAccounts(issuer, openings)
    return { url, one, other, session: await openSession(t, url) }
  }

  t.test('the ledger contract', async (t) => testLedgerContract(t, openLedger))

  t.test('two ledgers on one database are one', async (t) => {
    const { one, other } = await openReplicas(t)
    t.equal(await other.openAccounts(issuer, openings), 0)
    const orders = Array.from({ length: 60 }, () => makeOrder({ instruction: { amountMinorUnits: 1n } }))
    const outcomes = []
    for (const order of orders) outcomes.push(...(await Promise.all([one.book(order), other.book(order)])))
    t.equal(outcomes.filter(({ kind }) => kind === 'decided').length, 60)
    t.equal(outcomes.filter(({ kind }) => kind === 'token-spent').length, 60)
    for (const ledger of [one, other]) t.match(await balancesOf(ledger), { [ibans.alice]: 9940n, [ibans.bob]: 2060n })
  })

  t.test('ids that are no UUIDs in their canonical form name nothing', async (t) => {
    const { one } = await openReplicas(t)
    const [account] = await one.accountsOf(bob)
    const transferId = transferIdOf(await one.book(makeOrder())) as string
    const accountId = account?.id as string
    for (const odd of [(id: string) => id.toUpperCase(), (id: string) => `{${id}}`, () => '', () => '\0', () => '1']) {
      t.equal(await one.account(bob, odd(accountId)), undefined)
      t.equal(await one.entriesOf(bob, odd(accountId), { limit: 1, before: undefined }), undefined)
      t.equal(await one.transfer(alice, odd(transferId)), undefined)
    }
  })

  t.test('what another session holds is waited for only so long, and the token works afterwards', async (t) => {
    const { one, session } = await openReplicas(t)
    for (const [what, lock] of [
      ['an account', `select from stepgate.accounts where iban = '${ibans.bob}' for update`],
      ['the table of spent tokens', 'lock table stepgate.spent_tokens in access exclusive mode'],
    ] as const) {
      await session.query(`begin; ${lock}`)
      const order = makeOrder()
      const startedMs = performance.now()
      await t.rejects(one.book(order), { name: 'LedgerUnavailable', cause: { code: '55P03' } }, what)
      const tookMs = performance.now() - startedMs
      t.ok(tookMs > 900 && tookMs < 2000, `after ${Math.round(tookMs)} ms`)
      await session.query('rollback')
      t.match(await one.book(order), spentNow)
    }
  })

  t.test('no more orders and reads wait than there is room for, and none waits long', async (t) => {
    const { one, session } = await openReplicas(t)
    await session.query('begin; lock table stepgate.accounts in access exclusive mode')
    const orders = Array.from({ length: 4096 }, () => makeOrder())
    const startedMs = performance.now()
    const booking = Promise.allSettled(orders.map((order) => one.book(order)))
    await t.rejects(one.book(makeOrder()), { name: 'LedgerUnavailable', message: /too many orders/ })
    const reading = Promise.allSettled(Array.from({ length: 1010 }, () => one.accountsOf(alice)))
    await t.rejects(one.accountsOf(alice), { name: 'LedgerUnavailable', message: /too many requests wait/ })
    t.equal(await one.isReachable(), false)
    const outcomes = [...(await booking), ...(await reading)]
    t.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 0)
    t.ok(outcomes.every((outcome) => 'reason' in outcome && outcome.reason instanceof LedgerUnavailable))
    const tookMs = performance.now() - startedMs
    t.ok(tookMs < 2500, `all were refused within ${Math.round(tookMs)} ms`)
    await session.query('rollback')
    t.match(await one.book(orders[0] as never), spentNow)
  })

  t.test('one order of a group fails for itself alone', async (t) => {
    const { one, session } = await openReplicas(t)
    const key = 'held'
    const lock = 'select pg_advisory_lock(hashtextextended(concat_ws(chr(31), $1::text, $2::text, $3::text), 0))'
    await session.query(lock, [issuer, 'alice', key])
    const good = Array.from({ length: 20 }, () => makeOrder({ instruction: { amountMinorUnits: 1n } }))
    const bad = makeOrder({ instruction: { amountMinorUnits: 2n ** 64n } })
    const keyed = makeOrder({ idempotency: { key, ...digest('same') } })
    // The first one goes alone; all others gather meanwhile.
    const [outcomes, wrong, held] = await Promise.all([
      Promise.all(good.map((order) => one.book(order))),
      one.book(bad).catch((error) => error),
      one.book(keyed),
    ])
    for (const outcome of outcomes) t.match(outcome, spentNow)
    t.match(wrong, { code: '22003', name: 'error' })
    t.strictSame(held, { kind: 'key-in-use' })
    await session.query('select pg_advisory_unlock_all()')
    t.match(await one.book(keyed), spentNow, 'and its token was not used up')
    t.match(await one.book({ ...bad, instruction: keyed.instruction }), spentNow)
    t.match(await balancesOf(one), { [ibans.alice]: 10_000n - 20n - 5000n })
  })

  t.test('a booking whose connection breaks has an unknown outcome, and the next has a new connection', async (t) => {
    const url = await postgres.createDatabase()
    const proxy = await startTcpProxy(t, postgres)
    const ledger = await openLedger(t, proxy.through(url))
    await ledger.openAccounts(issuer, openings)
    const session = await openSession(t, url)
    const waiting = `from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    const breaks: [string, () => Promise<unknown>, object][] = [
      ['ended', () => postgres.query(url, `select pg_terminate_backend(pid) ${waiting}`), { code: '57P01' }],
      ['reset', async () => proxy.cut(), { code: 'ECONNRESET' }],
    ]
    for (const [index, [how, breakIt, cause]] of breaks.entries()) {
      await session.query('begin; lock table stepgate.spent_tokens in access exclusive mode')
      const order = makeOrder()
      const lost = t.rejects(ledger.book(order), { name: 'OutcomeUnknown', cause }, how)
      await until('the booking waits', async () => (await postgres.query(url, `select ${waiting}`)).length === 1)
      await breakIt()
      await lost
      await session.query('rollback')
      if (how === 'reset') await proxy.heal()
      // A server that does not hear that its client is gone may book all the same: that is what is unknown.
      const { kind } = await ledger.book(order)
      t.ok(kind === 'decided' || (kind === 'token-spent' && how === 'reset'), `${how}: ${kind}`)
      t.match(await balancesOf(ledger), { [ibans.alice]: 10_000n - 2500n * BigInt(index + 1) }, `${how}: booked once`)
    }
  })

  t.test('replicas that forget at once share the work, and wait for nobody', async (t) => {
    const { one, other, session } = await openReplicas(t)
    const spend = (from: number, to: number) =>
      session.query(`insert into stepgate.spent_tokens select 'i', n, ${nowMs} from generate_series(${from}, ${to}) n`)
    await spend(1, 3000)
    const clock = { nowMs: () => nowMs }
    const pruned = await Promise.all([pruneAll(one, clock), pruneAll(other, clock)])
    t.equal(pruned[0] + pruned[1], 3000)
    await spend(1, 5)
    await session.query(`begin; select from stepgate.spent_tokens where jti in ('2', '3') for update`)
    t.equal(await one.prune(nowMs), 3, 'what is locked is left to whoever holds it')
    await session.query('rollback')
    t.equal(await one.prune(nowMs), 2)
    await t.rejects(one.prune(Number.NaN), { code: '22P02', name: 'error' }, 'a fault of the program is no outage')
  })

  t.test('a closed ledger is out of reach; closing it again does nothing', async (t) => {
    const { one } = await openReplicas(t)
    await Promise.all([one.close(), one.close()])
    await one.close()
    t.equal(await one.isReachable(), false)
    await t.rejects(one.book(makeOrder()), LedgerUnavailable)
    await t.rejects(one.accountsOf(alice), LedgerUnavailable)
  })

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

  t.test('what only an operator can mend is thrown; all else is told once and tried again', async (t) => {
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
      [poor, 'the user may not create the schema stepgate: grant create on the database'],
      [url.replace('postgres@', 'old@'), 'PostgreSQL 15 or newer is needed'],
      [url.replace('postgres@', 'nobody:secret@'), 'the database refuses the user or password'],
      [postgres.url('nowhere'), 'the database does not exist'],
    ] as const) {
      await t.rejects(PostgresLedger.open({ url: unusable }), new UnusableDatabase(message))
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
    t.match(told, [{ message: 'fault 1' }, undefined])
    t.equal(told.length, 2)
  })

  t.test('a ledger that is closed while it waits for its database gives up', async (t) => {
    const told: unknown[] = []
    const url = postgres.url().replace(`:${postgres.port}`, ':9')
    const ledger = await PostgresLedger.open({ url, onChange: (fault) => told.push(fault) })
    t.match(told, [{ code: 'ECONNREFUSED' }])
    await t.rejects(ledger.openAccounts(issuer, openings), LedgerUnavailable)
    await ledger.close()
    // Longer than the pause between two attempts: one that was made all the same would reject with nobody to hear it.
    const other = await PostgresLedger.open({ url, onChange: (fault) => told.push(fault) })
    const againMs = performance.now() + 1100
    await until('another attempt would have been made', () => performance.now() > againMs)
    await other.close()
    t.equal(told.length, 2, 'each was told once')
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
      const { url, session } = await openReplicas(t)
      await session.query('insert into stepgate.migrations values (99, now())')
      t.match(await (await openLedger(t, url)).book(makeOrder()), spentNow)
      t.equal((await applied(url)).length, migrations.length + 1)
    })
  })
})
