import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import t, { type Test } from 'tap'
import { systemClock } from '#src/core/clock.js'
import { type Ledger, LedgerUnavailable } from '#src/ledger/ledger.js'
import { startPruning } from '#src/ledger/pruning.js'
import { expectDurable, openConnections, readPragma, UnusableDataFolder } from '#src/ledger/sqlite/connection.js'
import { migrations } from '#src/ledger/sqlite/migrations.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { interceptTimers } from '../helpers/intercepted-timers.js'
import { testLedgerContract } from './ledger-contract.js'
import { alice, balancesOf, ibans, issuer, makeOrder, nowMs, openings } from './orders.js'

const root = mkdtempSync(join(tmpdir(), 'stepgate-ledger-'))
t.teardown(() => rmSync(root, { recursive: true }))
const newFolder = (): string => mkdtempSync(join(root, 'folder-'))

async function openLedger(t: Test, folder = newFolder()): Promise<SqliteLedger> {
  const ledger = await SqliteLedger.open(folder)
  t.teardown(() => ledger.close())
  return ledger
}

/** The real wait for a lock takes 5 s, so it runs beside the other tests. */
const locked = newFolder()
const locker = openConnections(locked)
const lockedOut = await SqliteLedger.open(locked)
locker.writer.exec('begin immediate')
const startedMs = performance.now()
const gaveUp = lockedOut.openAccounts(issuer, openings).then(
  () => ({ error: undefined, elapsedMs: performance.now() - startedMs }),
  (error: unknown) => ({ error, elapsedMs: performance.now() - startedMs }),
)

t.test('the ledger contract', async (t) => testLedgerContract(t, openLedger))

t.test('every commit is fsynced, and the file says whose it is', async (t) => {
  const folder = newFolder()
  for (const open of ['new', 'existing']) {
    const { writer, reader } = openConnections(folder)
    t.equal(readPragma(writer, 'synchronous'), 2n, `${open}: synchronous is FULL on the connection that books`)
    t.match(writer.pragma('journal_mode'), [{ journal_mode: 'wal' }])
    t.equal(readPragma(writer, 'foreign_keys'), 1n)
    t.equal(readPragma(writer, 'application_id'), 0x73746570n)
    t.ok(readPragma(writer, 'user_version') > 0n)
    writer.pragma('synchronous = NORMAL')
    t.throws(() => expectDurable(writer), UnusableDataFolder, 'anything less is refused')
    t.throws(() => reader.exec('delete from accounts'), { code: 'SQLITE_READONLY' }, 'the other one only reads')
    writer.close()
    reader.close()
  }
})

t.test('processes on one folder share secrets, also one that a first version wrote and still has open', async (t) => {
  const folder = newFolder()
  const old = new Database(join(folder, 'ledger.sqlite'))
  old.exec(`${migrations[0]}; pragma application_id = 0x73746570; pragma user_version = 1`)
  const replicas = [await openLedger(t, folder), await openLedger(t, folder)]
  const [one, other] = await Promise.all(replicas.map((ledger) => ledger.sharedSecret('dpop-nonce')))
  t.same(one, other)
  old.exec("insert into spent_tokens values ('a', 'b', 1)")
  old.close()
})

t.test('a folder that cannot be used is refused and not touched', async (t) => {
  const makeDatabase = (folder: string, sql: string): void => {
    const database = new Database(join(folder, 'ledger.sqlite'))
    database.exec(sql)
    database.close()
  }
  const makeLedger = (folder: string, sql = ''): void => {
    const { writer, reader } = openConnections(folder)
    writer.exec(sql)
    writer.pragma('wal_checkpoint(TRUNCATE)')
    for (const connection of [reader, writer]) connection.close()
  }
  const put = (folder: string, bytes: string | Buffer): void => writeFileSync(join(folder, 'ledger.sqlite'), bytes)
  const cases: [string, RegExp, (folder: string) => void][] = [
    ['a text file', /damaged or no SQLite/, (folder) => put(folder, 'these are no accounts\n'.repeat(500))],
    [
      'a ledger with a damaged header',
      /damaged or no SQLite/,
      (folder) => {
        makeLedger(folder)
        put(folder, readFileSync(join(folder, 'ledger.sqlite')).fill(7, 0, 100))
      },
    ],
    [
      'a ledger with a damaged schema',
      /damaged or no SQLite/,
      (folder) => {
        makeLedger(folder)
        put(folder, readFileSync(join(folder, 'ledger.sqlite')).fill(7, 100, 4096))
      },
    ],
    ['a ledger that is half there', /damaged or no SQLite/, (folder) => makeLedger(folder, 'pragma user_version = 0')],
    [
      'a ledger without its tables',
      /damaged or no SQLite/,
      (folder) => makeLedger(folder, 'drop table idempotency_records'),
    ],
    [
      'another program’s database',
      /another program/,
      (folder) => makeDatabase(folder, 'pragma application_id = 7; create table a (b)'),
    ],
    [
      'a database that does not say whose it is',
      /another program/,
      (folder) => makeDatabase(folder, 'create table customers (name)'),
    ],
    [
      'a database with a version but no owner',
      /another program/,
      (folder) => makeDatabase(folder, 'pragma user_version = 1; create table a (b)'),
    ],
    ['a newer ledger', /newer version/, (folder) => makeLedger(folder, 'pragma user_version = 9999')],
    [
      'a folder where the file should be',
      /can be created and written to/,
      (folder) => mkdirSync(join(folder, 'ledger.sqlite')),
    ],
  ]
  for (const [name, message, prepare] of cases) {
    t.test(name, async (t) => {
      const folder = newFolder()
      prepare(folder)
      const before = readFolder(folder)
      const error = await SqliteLedger.open(folder).catch((fault: unknown) => fault)
      t.type(error, UnusableDataFolder)
      t.match(error, { message })
      t.strictSame(readFolder(folder), before)
    })
  }

  t.test('a path below a file', async (t) => {
    const file = join(newFolder(), 'file')
    writeFileSync(file, 'x')
    for (const path of [join(file, 'data'), file]) {
      await t.rejects(SqliteLedger.open(path), { name: 'UnusableDataFolder', message: /can be created and written to/ })
    }
    t.equal(readFileSync(file, 'utf8'), 'x')
  })
})

/** Files of a folder with a digest of their bytes; what SQLite keeps beside a database while it is open is no part of it. */
function readFolder(folder: string): Record<string, string> {
  const files = readdirSync(folder, { withFileTypes: true }).filter(
    (entry) => entry.isFile() && !/-(?:wal|shm)$/.test(entry.name),
  )
  return Object.fromEntries(
    files.map(({ name }) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  )
}

t.test('two ledgers on one folder are one', async (t) => {
  const folder = newFolder()
  const both = [await openLedger(t, folder), await openLedger(t, folder)]
  const opened = await Promise.all(both.map((ledger) => ledger.openAccounts(issuer, openings)))
  t.strictSame(opened.toSorted(), [0, openings.length], 'whichever came first')
  const orders = Array.from({ length: 100 }, () => makeOrder({ instruction: { amountMinorUnits: 1n } }))
  const raced = orders.flatMap((order) => both.map((ledger) => ledger.book(order)))
  const outcomes = await Promise.all(raced)
  t.equal(outcomes.filter(({ kind }) => kind === 'decided').length, 100)
  t.equal(outcomes.filter(({ kind }) => kind === 'token-spent').length, 100)
  for (const ledger of both) t.match(await balancesOf(ledger), { [ibans.alice]: 9900n, [ibans.bob]: 2100n })
})

t.test('several processes may open a new folder at once', async (t) => {
  const folder = join(newFolder(), 'deep', 'below')
  const script = `
    const { SqliteLedger } = await import(${JSON.stringify(import.meta.resolve('#src/ledger/sqlite/sqlite-ledger.js'))})
    const ledger = await SqliteLedger.open(${JSON.stringify(folder)})
    console.log(await ledger.isReachable())
    await ledger.close()`
  const processes = Array.from({ length: 4 }, () => spawn(process.execPath, ['--input-type=module', '-e', script]))
  const outputs = processes.map(async (child) => {
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)))
    const [code] = await once(child, 'close')
    return { code, output: output.trim() }
  })
  t.strictSame(await Promise.all(outputs), Array(4).fill({ code: 0, output: 'true' }))
})

t.test('what was answered is there after reopening, and closing waits for what is queued', async (t) => {
  const folder = newFolder()
  const ledger = await SqliteLedger.open(folder)
  await ledger.openAccounts(issuer, openings)
  const queued = Promise.all(
    Array.from({ length: 200 }, () => ledger.book(makeOrder({ instruction: { amountMinorUnits: 1n } }))),
  )
  await ledger.close()
  t.ok((await queued).every(({ kind }) => kind === 'decided'))
  t.match(await balancesOf(await openLedger(t, folder)), { [ibans.alice]: 9800n, [ibans.bob]: 2200n })
  await t.rejects(ledger.book(makeOrder()), LedgerUnavailable, 'a closed ledger books nothing')
  await t.rejects(ledger.isReachable(), TypeError, 'to ask a closed ledger is a fault of the program, no outage')
})

t.test('a file that is damaged while it is open makes the ledger unreachable, not wrong', async (t) => {
  const folder = newFolder()
  const ledger = await openLedger(t, folder)
  await ledger.openAccounts(issuer, openings)
  t.equal(await ledger.isReachable(), true)
  const { writer, reader } = openConnections(folder)
  writer.pragma('wal_checkpoint(TRUNCATE)')
  for (const connection of [reader, writer]) connection.close()
  writeFileSync(join(folder, 'ledger.sqlite'), Buffer.alloc(65_536, 7))
  t.equal(await ledger.isReachable(), false)
  await t.rejects(ledger.accountsOf(alice), LedgerUnavailable)
  await t.rejects(ledger.book(makeOrder()), LedgerUnavailable)
})

t.test('pruning goes on once a minute until it is stopped, and survives a failed round', async (t) => {
  const timers = interceptTimers(t, [60_000])
  const ledger = await openLedger(t)
  await ledger.book(makeOrder({ token: { rememberUntilMs: nowMs } }))
  const fault = new LedgerUnavailable('busy')
  const rounds: unknown[] = []
  const prune = async (atMs: number): Promise<number> => {
    rounds.push(atMs)
    if (rounds.length === 1) throw fault
    return ledger.prune(atMs)
  }
  const faults: unknown[] = []
  const stop = startPruning({ prune } as Ledger, systemClock, (error) => faults.push(error))
  const [timer] = timers
  timer?.ring()
  while (faults.length === 0) await new Promise(setImmediate)
  t.strictSame(faults, [fault])
  timer?.ring()
  while (rounds.length < 3) await new Promise(setImmediate)
  t.equal(await ledger.prune(Date.now()), 0, 'everything was forgotten')
  t.equal(faults.length, 1)
  await stop()
  t.equal(timer?.cleared, true)
})

t.test('a round of pruning that is under way stops after its batch, and then the ledger may be closed', async (t) => {
  const timers = interceptTimers(t, [60_000])
  const folder = newFolder()
  const ledger = await openLedger(t, folder)
  const orders = Array.from({ length: 1200 }, () => makeOrder({ token: { rememberUntilMs: nowMs } }))
  await Promise.all(orders.map((order) => ledger.book(order)))
  const faults: unknown[] = []
  const stop = startPruning(ledger, systemClock, (error) => faults.push(error))
  const { writer, reader } = openConnections(folder)
  writer.exec('begin immediate')
  timers[0]?.ring()
  timers[0]?.ring()
  let stopped = false
  const stopping = stop().then(() => {
    stopped = true
  })
  await new Promise(setImmediate)
  t.equal(stopped, false, 'the batch waits for the lock of another process')
  writer.exec('rollback')
  for (const connection of [reader, writer]) connection.close()
  await stopping
  const rest = [await ledger.prune(Date.now()), await ledger.prune(Date.now()), await ledger.prune(Date.now())]
  t.strictSame(rest, [500, 200, 0], 'one batch, as a minute that passes during a round begins no other')
  t.strictSame(faults, [])
})

t.test('accounts cannot be opened while another process keeps the ledger locked for 5 s', async (t) => {
  const { error, elapsedMs } = await gaveUp
  t.match(error, { name: 'LedgerUnavailable', cause: { code: 'SQLITE_BUSY' } })
  t.ok(elapsedMs > 4900, `after ${Math.round(elapsedMs)} ms`)
  locker.writer.exec('rollback')
  t.strictSame(await lockedOut.accountsOf(alice), [])
  await (await openLedger(t, locked)).openAccounts(issuer, openings)
  t.equal((await lockedOut.accountsOf(alice)).length, 3)
  await lockedOut.close()
  for (const connection of [locker.reader, locker.writer]) connection.close()
})
