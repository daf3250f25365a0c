import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import t, { type Test } from 'tap'
import { LedgerUnavailable, OutcomeUnknown } from '#src/ledger/ledger.js'
import { type Connection, openConnections } from '#src/ledger/sqlite/connection.js'
import { GroupCommit } from '#src/ledger/sqlite/group-commit.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { alice, balancesOf, ibans, issuer, makeOrder, openings } from './orders.js'

const root = mkdtempSync(join(tmpdir(), 'stepgate-group-'))
t.teardown(() => rmSync(root, { recursive: true }))

/** A connection that counts commits, with an `execute` that spends a token and does what the order says besides. */
function setUp(t: Test) {
  const { writer, reader } = openConnections(mkdtempSync(join(root, 'folder-')))
  t.teardown(() => {
    reader.close()
    writer.close()
  })
  const connection: Connection = Object.create(writer)
  const statements: string[] = []
  connection.exec = (sql) => {
    statements.push(sql)
    writer.exec(sql)
    return connection
  }
  const spend = writer.prepare('insert into spent_tokens values (?, ?, ?)')
  const group = new GroupCommit(connection, (orders: readonly { jwtId: string; also?: () => void }[]) =>
    orders.map(({ jwtId, also }) => {
      spend.run(issuer, jwtId, 1)
      also?.()
      return jwtId
    }),
  )
  const commits = () => statements.filter((sql) => sql === 'commit').length
  const spent = () => (reader.prepare('select jti from spent_tokens order by jti').raw().all() as [string][]).flat()
  return { commits, connection, group, spent, writer }
}

const submitAll = (group: GroupCommit<{ jwtId: string }, string>, count: number) =>
  Promise.all(Array.from({ length: count }, (_, n) => group.submit({ jwtId: `token ${n}` })))

t.test('orders that arrive together share a commit', async (t) => {
  const { commits, group, spent } = setUp(t)
  const answers = await submitAll(group, 200)
  t.strictSame(
    answers,
    Array.from({ length: 200 }, (_, n) => `token ${n}`),
  )
  t.equal(commits(), 4, '64 at most share one')
  t.equal(spent().length, 200)
  await group.submit({ jwtId: 'later' })
  t.equal(commits(), 5, 'one that comes alone waits for nobody')
  await group.drain()
})

t.test('orders that arrive in one turn of the event loop after another share a commit', async (t) => {
  const { commits, group } = setUp(t)
  const first = group.submit({ jwtId: 'a' })
  await new Promise(setImmediate)
  t.strictSame(await Promise.all([first, group.submit({ jwtId: 'b' })]), ['a', 'b'])
  t.equal(commits(), 1)
})

t.test('nobody is answered before the commit', async (t) => {
  const { commits, group } = setUp(t)
  const commitsAtAnswer = await Promise.all(
    ['a', 'b', 'c'].map((jwtId) => group.submit({ jwtId, also: () => t.equal(commits(), 0) }).then(commits)),
  )
  t.strictSame(commitsAtAnswer, [1, 1, 1])
})

t.test('an order that throws inside takes no other along', async (t) => {
  const { commits, group, spent } = setUp(t)
  const fault = new Error('a fault of this order')
  const outcomes = await Promise.allSettled([
    group.submit({ jwtId: 'a' }),
    group.submit({
      jwtId: 'b',
      also: () => {
        throw fault
      },
    }),
    group.submit({ jwtId: 'a' }),
    group.submit({ jwtId: 'c' }),
  ])
  t.match(outcomes, [
    { value: 'a' },
    { reason: fault },
    { reason: { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' } },
    { value: 'c' },
  ])
  t.strictSame(spent(), ['a', 'c'], 'what it had written is undone')
  t.equal(commits(), 1)
})

t.test('a fault of the storage within an order is LedgerUnavailable, for that order alone', async (t) => {
  const { group, spent, writer } = setUp(t)
  const fail = () => {
    writer.pragma('query_only = on')
    try {
      writer.exec('delete from spent_tokens')
    } finally {
      writer.pragma('query_only = off')
    }
  }
  const outcomes = await Promise.allSettled([
    group.submit({ jwtId: 'a' }),
    group.submit({ jwtId: 'b', also: fail }),
    group.submit({ jwtId: 'c' }),
  ])
  const reason = { name: 'LedgerUnavailable', cause: { code: 'SQLITE_READONLY' } }
  t.match(outcomes, [{ value: 'a' }, { reason }, { value: 'c' }])
  t.strictSame(spent(), ['a', 'c'])
})

t.test('a fault that undoes the whole transaction is LedgerUnavailable for the group', async (t) => {
  const { group, spent, writer } = setUp(t)
  await group.submit({ jwtId: 'used' })
  const pages = writer.pragma('page_count') as { page_count: bigint }[]
  writer.pragma(`max_page_count = ${pages[0]?.page_count}`)
  const outcomes = await Promise.allSettled([
    group.submit({ jwtId: 'a' }),
    group.submit({ jwtId: 'x'.repeat(100_000) }),
    group.submit({ jwtId: 'c' }),
  ])
  for (const outcome of outcomes) {
    t.match(outcome, { reason: { name: 'LedgerUnavailable', cause: { code: 'SQLITE_FULL' } } }, 'the disk is full')
  }
  t.strictSame(spent(), ['used'], 'certainly nothing was written')
  t.equal(await group.submit({ jwtId: 'a' }), 'a', 'and the next group is not affected')
})

t.test('a commit that fails leaves the outcome unknown', async (t) => {
  t.test('where the database refuses to commit', async (t) => {
    const { group, spent, writer } = setUp(t)
    const orphan = () =>
      writer.exec(`pragma defer_foreign_keys = on; insert into postings values ('none', 1, 'none', 1)`)
    const outcomes = await Promise.allSettled([
      group.submit({ jwtId: 'a' }),
      group.submit({ jwtId: 'b', also: orphan }),
    ])
    for (const outcome of outcomes) {
      t.match(outcome, { reason: { name: 'OutcomeUnknown', cause: { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' } } })
    }
    t.strictSame(spent(), [])
    t.equal(writer.inTransaction, false, 'what is left of the transaction is undone')
    t.equal(await group.submit({ jwtId: 'a' }), 'a')
  })

  t.test('where it committed and the answer was lost', async (t) => {
    const { connection, group, spent, writer } = setUp(t)
    connection.exec = (sql) => {
      writer.exec(sql)
      if (sql === 'commit') throw new Error('the connection broke')
      return connection
    }
    await t.rejects(group.submit({ jwtId: 'a' }), OutcomeUnknown)
    t.strictSame(spent(), ['a'])
  })
})

t.test('a commit that certainly wrote nothing is LedgerUnavailable', async (t) => {
  for (const code of ['SQLITE_FULL', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT']) {
    const { connection, group, spent, writer } = setUp(t)
    const { exec } = connection
    connection.exec = (sql) => {
      if (sql === 'commit') throw Object.assign(new Error(code), { code })
      return exec(sql)
    }
    await t.rejects(group.submit({ jwtId: 'a' }), { name: 'LedgerUnavailable', cause: { code } })
    t.strictSame(spent(), [])
    t.equal(writer.inTransaction, false)
  }
})

t.test('a rollback that fails as well is told, and later groups are refused rather than left waiting', async (t) => {
  const { group, spent, writer } = setUp(t)
  const fault = Object.assign(new Error('disk'), { code: 'SQLITE_IOERR' })
  const exec = writer.exec.bind(writer)
  writer.exec = (sql: string) => {
    if (sql === 'commit' || sql === 'rollback') throw fault
    return exec(sql)
  }
  const warned = once(process, 'warning')
  await t.rejects(group.submit({ jwtId: 'a' }), { name: 'OutcomeUnknown' })
  t.match(await warned, [{ message: 'the ledger could not roll back', errors: [fault, fault] }])
  await t.rejects(group.submit({ jwtId: 'b' }), { name: 'LedgerUnavailable' })
  await group.drain()
  writer.exec = exec
  writer.exec('rollback')
  t.equal(await group.submit({ jwtId: 'c' }), 'c')
  t.strictSame(spent(), ['c'])
})

t.test('no more orders wait than there is room for', async (t) => {
  const { group, spent } = setUp(t)
  const waiting = submitAll(group, 4096)
  await t.rejects(group.submit({ jwtId: 'one too many' }), { name: 'LedgerUnavailable', message: /too many/ })
  t.equal((await waiting).length, 4096)
  t.equal(spent().length, 4096)
  t.equal(await group.submit({ jwtId: 'later' }), 'later')
})

t.test('while another process holds the write lock', async (t) => {
  const folder = mkdtempSync(join(root, 'locked-'))
  const ledger = await SqliteLedger.open(folder)
  await ledger.openAccounts(issuer, openings)
  const other = openConnections(folder)
  t.teardown(async () => {
    await ledger.close()
    other.reader.close()
    other.writer.close()
  })
  const small = { instruction: { amountMinorUnits: 1n } }

  t.test('orders wait, reads go on, and all is well when the lock goes away', async (t) => {
    other.writer.exec('begin immediate')
    const waiting = Promise.all(Array.from({ length: 100 }, () => ledger.book(makeOrder(small))))
    const pruning = ledger.prune(1)
    t.match(await balancesOf(ledger), { [ibans.alice]: 10_000n })
    t.equal(await ledger.isReachable(), true)
    other.writer.exec('rollback')
    t.ok((await waiting).every(({ kind }) => kind === 'decided'))
    t.equal(await pruning, 0)
    t.match(await balancesOf(ledger), { [ibans.alice]: 9900n })
  })

  t.test('an order is refused within 2 s, the process answers meanwhile, and the token stays unspent', async (t) => {
    other.writer.exec('begin immediate')
    const delays = monitorEventLoopDelay({ resolution: 5 })
    delays.enable()
    const startedMs = performance.now()
    const order = makeOrder(small)
    const refused = Promise.allSettled(Array.from({ length: 100 }, () => ledger.book({ ...order })))
    const closing = t.rejects(ledger.book(order), LedgerUnavailable)
    for (const outcome of await refused) {
      t.match(outcome, { reason: { name: 'LedgerUnavailable', cause: { code: 'SQLITE_BUSY' } } })
    }
    await closing
    const elapsedMs = performance.now() - startedMs
    delays.disable()
    t.ok(elapsedMs > 1000 && elapsedMs < 2000, `after ${Math.round(elapsedMs)} ms`)
    t.ok(delays.max < 250e6, `the event loop stood still for at most ${Math.round(delays.max / 1e6)} ms`)
    t.match(await ledger.accountsOf(alice), [{}, { balanceMinorUnits: 9900n }, {}])
    other.writer.exec('rollback')
    t.match(await ledger.book(order), { kind: 'decided', repeated: false })
  })
})
