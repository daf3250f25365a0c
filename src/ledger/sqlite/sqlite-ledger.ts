import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { OpeningAccount } from '../../core/opening-accounts.js'
import {
  type Account,
  type AccountEntry,
  type BookingOutcome,
  type Ledger,
  LedgerUnavailable,
  type Owner,
  type SharedSecretName,
  type Transfer,
  type TransferOrder,
} from '../ledger.js'
import { type AccountRow, type EntryRow, type TransferRow, toAccount, toEntry, toTransfer } from '../rows.js'
import { prepareBooking } from './booking.js'
import { accountColumns, entryColumns, transferColumns } from './columns.js'
import { type Connection, explainOpening, isBusy, isStorageFault, openConnections } from './connection.js'
import { GroupCommit } from './group-commit.js'
import { GroupRead } from './group-read.js'

const pruneBatchSize = 500
const busyRetryMs = 20
const maxBusyAttempts = 250

type AccountColumns = [owner: number, id: string, iban: string, name: string, currency: string, balance: string]

/** The ledger in one SQLite file of a folder. Several processes may share the folder; each commit is fsynced. */
export class SqliteLedger implements Ledger {
  readonly #writer: Connection
  readonly #reader: Connection
  readonly #bookings: GroupCommit<TransferOrder, BookingOutcome>
  readonly #accountLists = new GroupRead((owners: readonly Owner[]) => this.#readAccountLists(owners))
  readonly #statements = new Map<string, ReturnType<Connection['prepare']>>()

  private constructor({ writer, reader }: { writer: Connection; reader: Connection }) {
    this.#writer = writer
    this.#reader = reader
    this.#bookings = new GroupCommit(writer, prepareBooking(writer))
  }

  /**
   * Opens or creates the ledger, waiting up to 5 s for other processes that start on the same folder. Throws
   * `UnusableDataFolder` when the folder cannot be written or the file is damaged or not ours.
   */
  static async open(dataFolder: string): Promise<SqliteLedger> {
    const connections = await retryWhileBusy(() => openConnections(dataFolder))
    try {
      return new SqliteLedger(connections)
    } catch (error) {
      // A statement that cannot be prepared: tables or columns are missing.
      connections.reader.close()
      connections.writer.close()
      throw explainOpening(error)
    }
  }

  accountsOf(owner: Owner): Promise<Account[]> {
    return this.#accountLists.ask(owner)
  }

  async account({ issuer, subject }: Owner, accountId: string): Promise<Account | undefined> {
    const sql = `select ${accountColumns} where id = ? and issuer = ? and subject = ?`
    return this.#all<AccountRow>(sql, accountId, issuer, subject).map(toAccount)[0]
  }

  async entriesOf(
    owner: Owner,
    accountId: string,
    { limit, before }: { limit: number; before: number | undefined },
  ): Promise<AccountEntry[] | undefined> {
    if ((await this.account(owner, accountId)) === undefined) return undefined
    const sql = `select ${entryColumns} where account_id = ? and number < ? order by number desc limit ?`
    return this.#all<EntryRow>(sql, accountId, before ?? Number.MAX_SAFE_INTEGER, limit).map(toEntry)
  }

  async transfer({ issuer, subject }: Owner, transferId: string): Promise<Transfer | undefined> {
    const sql = `select ${transferColumns} where transfers.id = ? and debtor.issuer = ? and debtor.subject = ?`
    return this.#all<TransferRow>(sql, transferId, issuer, subject).map(toTransfer)[0]
  }

  book(order: TransferOrder): Promise<BookingOutcome> {
    return this.#bookings.submit(order)
  }

  async openAccounts(issuer: string, accounts: readonly OpeningAccount[]): Promise<number> {
    if (accounts.length === 0) return 0
    const open = this.#writer.prepare(
      `insert into accounts (id, issuer, subject, iban, name, currency, opening_balance, balance)
       values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (iban) do nothing`,
    )
    return this.#write(() =>
      accounts.reduce((opened, { subject, iban, name, currency, balanceMinorUnits: balance }) => {
        return opened + open.run(randomUUID(), issuer, subject, iban, name, currency, balance, balance).changes
      }, 0),
    )
  }

  prune(nowMs: number): Promise<number> {
    const forgetTokens = this.#writer.prepare(
      `delete from spent_tokens where (issuer, jti) in
       (select issuer, jti from spent_tokens where remember_until_ms <= ? limit ${pruneBatchSize})`,
    )
    const forgetRecords = this.#writer.prepare(
      `delete from idempotency_records where (issuer, subject, key) in
       (select issuer, subject, key from idempotency_records where remember_until_ms <= ? limit ${pruneBatchSize})`,
    )
    return this.#write(() => forgetTokens.run(nowMs).changes + forgetRecords.run(nowMs).changes)
  }

  async sharedSecret(name: SharedSecretName): Promise<Uint8Array> {
    const [row] = this.#all<{ secret: ArrayBuffer }>('select secret from shared_secrets where name = ?', name)
    return new Uint8Array((row as NonNullable<typeof row>).secret)
  }

  async isReachable(): Promise<boolean> {
    try {
      this.#all('select count(*) from sqlite_schema')
      return true
    } catch (error) {
      if (error instanceof LedgerUnavailable) return false
      throw error
    }
  }

  async close(): Promise<void> {
    await this.#bookings.drain()
    this.#reader.close()
    this.#writer.close()
  }

  /** The accounts of each owner, by IBAN. The cross join has SQLite look up each owner, whatever it thinks of the table's size. */
  #readAccountLists(owners: readonly Owner[]): Account[][] {
    const sql = `
      select json_group_array(json_array(key, id, iban, name, currency, balance)) as rows from (
        select key, accounts.id, iban, name, currency, cast(balance as text) as balance
        from json_each(?) cross join accounts on issuer = value ->> 0 and subject = value ->> 1
        order by key, iban)`
    const asked = JSON.stringify(owners.map(({ issuer, subject }) => [issuer, subject]))
    const [{ rows }] = this.#all(sql, asked) as [{ rows: string }]
    const lists: Account[][] = owners.map(() => [])
    for (const [owner, id, iban, name, currency, balance] of JSON.parse(rows) as AccountColumns[]) {
      lists[owner]?.push({ id, iban, name, currency, balanceMinorUnits: BigInt(balance) })
    }
    return lists
  }

  #all<Row>(sql: string, ...parameters: unknown[]): Row[] {
    try {
      let statement = this.#statements.get(sql)
      if (statement === undefined) {
        statement = this.#reader.prepare(sql)
        this.#statements.set(sql, statement)
      }
      return statement.all(parameters) as Row[]
    } catch (error) {
      throw isStorageFault(error) ? new LedgerUnavailable('the ledger cannot be read', { cause: error }) : error
    }
  }

  #write<T>(work: () => T): Promise<T> {
    return retryWhileBusy(() => {
      this.#writer.exec('begin immediate')
      try {
        const result = work()
        this.#writer.exec('commit')
        return result
      } catch (error) {
        if (this.#writer.inTransaction) this.#writer.exec('rollback')
        throw error
      }
    })
  }
}

async function retryWhileBusy<T>(work: () => T): Promise<T> {
  let busy: unknown
  for (let attempt = 0; attempt < maxBusyAttempts; attempt += 1) {
    try {
      return work()
    } catch (error) {
      if (!isBusy(error)) throw error
      busy = error
      await delay(busyRetryMs)
    }
  }
  throw new LedgerUnavailable('another process keeps the ledger locked', { cause: busy })
}
