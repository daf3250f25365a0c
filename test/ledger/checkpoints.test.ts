import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import t, { type Test } from 'tap'
import { Checkpoints } from '#src/ledger/sqlite/checkpoints.js'
import { openConnections } from '#src/ledger/sqlite/connection.js'
import { Writer } from '#src/ledger/sqlite/writer.js'

const root = mkdtempSync(join(tmpdir(), 'stepgate-checkpoints-'))
t.teardown(() => rmSync(root, { recursive: true }))

async function setUp(t: Test, maxWalBytes?: number) {
  const folder = mkdtempSync(join(root, 'folder-'))
  const connections = await openConnections(folder)
  const { writer: connection, checkpointer, reader, walPath } = connections
  t.teardown(() => {
    for (const each of [checkpointer, reader, connection]) each.close()
  })
  const made: string[] = []
  const exec = checkpointer.exec.bind(checkpointer)
  checkpointer.exec = (sql) => {
    made.push(/\((\w+)\)/.exec(sql)?.[1] as string)
    return exec(sql)
  }
  const checkpoints = new Checkpoints(checkpointer, walPath, maxWalBytes)
  const writer = new Writer(connection, () => undefined)
  const write = (bytes: number) =>
    writer.transact((connection) =>
      connection.exec(`insert into spent_tokens values ('i', hex(randomblob(${bytes / 2})), 1)`),
    )
  return { checkpointer, checkpoints, folder, made, walPath, write, writer }
}

t.test(
  'a checkpoint brings what was committed into the database file, and at most one is made in half a second',
  async (t) => {
    const { checkpoints, folder, made, write, writer } = await setUp(t)
    await write(1_000_000)
    const sizeBefore = statSync(join(folder, 'ledger.sqlite')).size
    checkpoints.afterCommit(writer)
    checkpoints.afterCommit(writer)
    await checkpoints.settle()
    checkpoints.afterCommit(writer)
    await checkpoints.settle()
    t.strictSame(made, ['passive'])
    t.ok(statSync(join(folder, 'ledger.sqlite')).size > sizeBefore + 1_000_000)
  },
)

t.test('a log that has become long begins anew', async (t) => {
  const { checkpoints, made, walPath, write, writer } = await setUp(t, 500_000)
  await write(1_000_000)
  t.ok(statSync(walPath).size > 1_000_000)
  checkpoints.afterCommit(writer)
  await checkpoints.settle()
  t.strictSame(made, ['passive', 'truncate'])
  t.equal(statSync(walPath).size, 0)
})

t.test('a reader of another process does not make bookings wait: the log grows on until it is gone', async (t) => {
  const { checkpoints, folder, walPath, write, writer } = await setUp(t, 500_000)
  const other = new Database(join(folder, 'ledger.sqlite'))
  t.teardown(() => other.close())
  other.exec('begin; select count(*) from spent_tokens')
  await write(1_000_000)
  checkpoints.afterCommit(writer)
  await checkpoints.settle()
  t.ok(statSync(walPath).size > 1_000_000)
  await write(10)
})

t.test('none begins once they are closed', async (t) => {
  const { checkpoints, made, write, writer } = await setUp(t)
  await write(1000)
  checkpoints.afterCommit(writer)
  await checkpoints.close()
  t.strictSame(made, ['passive'], 'the one under way was waited for')
  await new Promise((resolve) => setTimeout(resolve, 510))
  checkpoints.afterCommit(writer)
  await checkpoints.settle()
  t.strictSame(made, ['passive'])
})

t.test('checkpoints that fail are told once, and lose nothing', async (t) => {
  const { checkpointer, checkpoints, write, writer } = await setUp(t)
  const { exec } = checkpointer
  const fault = Object.assign(new Error('no room'), { code: 'SQLITE_FULL' })
  const told: unknown[] = []
  const onWarning = (warning: Error) => told.push(warning.cause)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const run = async (): Promise<void> => {
    checkpoints.afterCommit(writer)
    await checkpoints.settle()
    await new Promise((resolve) => setTimeout(resolve, 510))
  }
  checkpointer.exec = () => Promise.reject(fault)
  const warned = once(process, 'warning')
  await run()
  t.match(await warned, [{ message: 'the ledger cannot make a checkpoint', cause: fault }])
  await run()
  t.strictSame(told, [fault], 'the outage is told when it begins')
  await write(1000)
  checkpointer.exec = exec
  await run()
  checkpointer.exec = () => Promise.reject(fault)
  await run()
  t.strictSame(told, [fault, fault], 'and the next one again')
})
