import { Client } from 'pg'
import t, { type Test } from 'tap'
import { LedgerUnavailable } from '#src/ledger/ledger.js'
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

  t.test('replicas share secrets', async (t) => {
    const { one, other } = await openReplicas(t)
    t.same(await one.sharedSecret('dpop-nonce'), await other.sharedSecret('dpop-nonce'))
  })

  t.test('a schema of the first version is brought up to date', async (t) => {
    const url = await postgres.createDatabase()
    const session = await openSession(t, url)
    await migrate(session, migrations.slice(0, 1))
    const ledger = await openLedger(t, url)
    t.equal((await ledger.sharedSecret('dpop-nonce')).length, 32)
  })

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

  t.test('a stored answer that cannot be read is no "nothing was booked"', async (t) => {
    const { one } = await openReplicas(t)
    const order = makeOrder({ idempotency: { key: 'a', ...digest('same') } })
    const first = await one.book(order)
    const reading = t.intercept(one, 'transfer', { value: () => Promise.reject(new LedgerUnavailable('cut off')) })
    await t.rejects(one.book(order), { name: 'OutcomeUnknown', cause: { message: 'cut off' } })
    reading.restore()
    t.strictSame(await one.book(order), { ...first, repeated: true })
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

  t.test('accounts that cannot be opened say why', async (t) => {
    const { one, session } = await openReplicas(t)
    await session.query('alter table stepgate.accounts rename to elsewhere')
    await t.rejects(one.openAccounts(issuer, openings), { code: '42P01' }, 'no outage')
    await session.query('alter table stepgate.elsewhere rename to accounts')
    t.equal(await one.openAccounts(issuer, openings), 0)
  })

  t.test('a closed ledger is out of reach; closing it again does nothing', async (t) => {
    const { one } = await openReplicas(t)
    await Promise.all([one.close(), one.close()])
    await one.close()
    t.equal(await one.isReachable(), false)
    await t.rejects(one.book(makeOrder()), LedgerUnavailable)
    await t.rejects(one.accountsOf(alice), LedgerUnavailable)
  })
})
