import { accessSync, constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'libsql'
import { migrations } from './migrations.js'

/** A connection as better-sqlite3 and libsql give it; integers come back as bigint. */
export type Connection = InstanceType<typeof Database>

/** Marks a file as a stepgate ledger ("step" in ASCII). */
const applicationId = 0x73746570

/** The folder or file cannot be used; the message says what to do and the file was not changed. */
export class UnusableDataFolder extends Error {
  override readonly name = 'UnusableDataFolder'
}

/**
 * Opens the two connections of a ledger in a folder: one that books, with every commit fsynced, and one that only reads.
 * Creates folder and file when missing and applies migrations under the write lock, so that several processes can start at
 * once. Waits for nobody: a busy file throws SQLITE_BUSY at once, because waiting inside SQLite would freeze the process.
 */
export function openConnections(dataFolder: string): { writer: Connection; reader: Connection } {
  const path = join(dataFolder, 'ledger.sqlite')
  let writer: Connection | undefined
  try {
    mkdirSync(dataFolder, { recursive: true })
    writer = open(path)
    expectOurs(writer)
    // SQLite opens a file that it may only read as well, and says so at the first transfer.
    accessSync(path, constants.W_OK)
    writer.pragma('journal_mode = WAL')
    writer.pragma('synchronous = FULL')
    writer.pragma('foreign_keys = ON')
    migrate(writer)
    const reader = open(path)
    reader.pragma('query_only = ON')
    expectDurable(writer)
    return { writer, reader }
  } catch (error) {
    writer?.close()
    throw explainOpening(error)
  }
}

/** Throws unless every commit on the connection is fsynced: believed when the database says so, not because it was told to. */
export function expectDurable(connection: Connection): void {
  if (readPragma(connection, 'synchronous') !== 2n)
    throw new UnusableDataFolder('ledger.sqlite cannot be written durably')
}

/** The value of a pragma that answers one number. */
export function readPragma(connection: Connection, name: string): bigint {
  return (connection.prepare(`pragma ${name}`).raw().safeIntegers(true).get() as [bigint])[0]
}

function open(path: string): Connection {
  const connection = new Database(path, { timeout: 0 })
  connection.defaultSafeIntegers(true)
  return connection
}

/** Looks before anything is written, since switching to WAL already changes the file. */
function expectOurs(connection: Connection): void {
  // One statement, and so one view of the file, which a neighbour may be creating at this moment.
  const [owner, version, objects] = connection
    .prepare('select *, (select count(*) from sqlite_schema) from pragma_application_id, pragma_user_version')
    .raw()
    .get() as [bigint, bigint, bigint]
  const isEmpty = owner === 0n && version === 0n && objects === 0n
  if (isEmpty || (owner === BigInt(applicationId) && version <= migrations.length)) return
  throw new UnusableDataFolder('ledger.sqlite was written by another program or a newer version')
}

function migrate(connection: Connection): void {
  // The lock is taken only when there is something to do, so that a start need not wait for a busy neighbour.
  if (readPragma(connection, 'user_version') === BigInt(migrations.length)) return
  connection.exec('begin immediate')
  try {
    const done = Number(readPragma(connection, 'user_version'))
    for (const migration of migrations.slice(done)) connection.exec(migration)
    connection.exec(`pragma application_id = ${applicationId}; pragma user_version = ${migrations.length}`)
    connection.exec('commit')
  } catch (error) {
    if (connection.inTransaction) connection.exec('rollback')
    throw error
  }
}

/** Whether an error comes from the storage beneath the database, and not from what was asked of it. */
export function isStorageFault(error: unknown): boolean {
  return /^SQLITE_(?!CONSTRAINT|MISMATCH|RANGE)/.test(String((error as { code?: unknown }).code))
}

/** Whether a failed commit certainly wrote nothing: no room, or no lock. After any other fault that is not known. */
export function isUndone(error: unknown): boolean {
  return isBusy(error) || (error as { code?: unknown }).code === 'SQLITE_FULL'
}

/** Whether an error says that another process holds the write lock. */
export function isBusy(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY')
}

/** Puts what went wrong while opening into an operator's words where the folder or file is to blame. */
export function explainOpening(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown }
  const reason = String(code) || String(message)
  if (/^SQLITE_(?:NOTADB|CORRUPT|ERROR$)/.test(reason))
    return new UnusableDataFolder('ledger.sqlite is damaged or no SQLite database')
  const unwritable = /^(?:SQLITE_(?:READONLY|CANTOPEN|PERM|IOERR|FULL)|ConnectionFailed|E[A-Z]+$)/.exec(reason)
  return unwritable
    ? new UnusableDataFolder(`expected a folder that can be created and written to (${unwritable[0]})`)
    : error
}
