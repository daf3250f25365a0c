import { closeSync, copyFileSync, fsyncSync, mkdirSync, openSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import Database from 'libsql'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'

/** What a row and its index entries take on disk, measured. */
const bytesPerAccount = 290
const bytesPerToken = 165
const rowsPerTransaction = 1_000_000
/** For write-ahead logs, and whatever else writes. */
const spareBytes = 1e9

/**
 * Throws unless the disk beneath a folder has room for so many accounts and spent tokens in SQLite ledgers, with some to
 * spare.
 */
export function expectRoom(folder: string, rows: { accounts?: number; tokens?: number }): void {
  const { bavail, bsize } = statfsSync(folder)
  const neededBytes = (rows.accounts ?? 0) * bytesPerAccount + (rows.tokens ?? 0) * bytesPerToken + spareBytes
  const [free, needed] = [bavail * bsize, neededBytes].map((bytes) => `${(bytes / 1e9).toFixed(1)} GB`)
  if (bavail * bsize < neededBytes) throw new Error(`${folder}: ${free} free on the disk, ${needed} needed`)
}

/** Makes a SQLite ledger full of rows, by SQL, a million in seconds. Nobody else may open it before it is closed. */
export class SqliteFiller {
  readonly #database: InstanceType<typeof Database>
  readonly #path: string

  private constructor(path: string) {
    this.#path = path
    this.#database = new Database(path)
    // Without a journal, which would be as large as the rows.
    this.#database.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -1000000')
  }

  /** Creates the ledger in a folder that has none. */
  static async create(folder: string): Promise<SqliteFiller> {
    const emptyFolder = join(folder, 'empty')
    mkdirSync(emptyFolder, { recursive: true })
    const ledger = await SqliteLedger.open(emptyFolder)
    await ledger.close()
    const empty = new Database(join(emptyFolder, 'ledger.sqlite'))
    empty.pragma('wal_checkpoint(TRUNCATE)')
    empty.close()
    // A copy, because libsql closes only when it collects garbage, and until then the journal stays.
    copyFileSync(join(emptyFolder, 'ledger.sqlite'), join(folder, 'ledger.sqlite'))
    rmSync(emptyFolder, { recursive: true })
    return new SqliteFiller(join(folder, 'ledger.sqlite'))
  }

  /**
   * Inserts so many rows into a table. The columns are SQL expressions of the row's number `i`, which counts from 0. A turn of
   * the event loop between the transactions lets signals in.
   */
  async insert(table: string, count: number, columns: string): Promise<void> {
    for (let first = 0; first < count; first += rowsPerTransaction) {
      const last = Math.min(first + rowsPerTransaction, count) - 1
      this.#database.exec(
        `with recursive n (i) as (select ${first} union all select i + 1 from n where i < ${last})
         insert into ${table} select ${columns} from n`,
      )
      await nextTurn()
    }
  }

  /**
   * Inserts spent tokens of an issuer whose `jti`s are spread evenly, so that random ones come to lie between them, and that
   * are forgotten one after the other between two times. In two passes over all of the keys, because rows that come in order
   * fill their pages to the brim, and each random one after them would split a page.
   */
  insertTokens(issuer: string, count: number, { mark = 'live', fromMs = 0, toMs = 0 }): Promise<void> {
    const half = Math.ceil(count / 2)
    const step = Math.floor(2 ** 32 / count)
    const jti = `printf('%08x-0000-4000-8000-${mark.padStart(12, '0')}', (i % ${half} * 2 + i / ${half}) * ${step})`
    const untilMs = `${fromMs} + cast(i as real) / ${count} * ${toMs - fromMs}`
    return this.insert('spent_tokens', count, `'${issuer}', ${jti}, cast(${untilMs} as integer)`)
  }

  /** Waits until everything is on the disk, or the kernel would write it while others measure. */
  close(): void {
    this.#database.exec('pragma journal_mode = wal')
    this.#database.close()
    const file = openSync(this.#path, 'r+')
    fsyncSync(file)
    closeSync(file)
  }
}
