import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client, Pool, PoolClient, QueryConfig, QueryResult, QueryResultRow } from 'pg'
import type { OpeningAccount } from '../../core/opening-accounts.js'
import {
  type Account,
  type AccountEntry,
  type BookingOutcome,
  type Ledger,
  LedgerUnavailable,
  OutcomeUnknown,
  type Owner,
  type SharedSecretName,
  type Transfer,
  type TransferOrder,
} from '../ledger.js'
import { type AccountRow, type EntryRow, type TransferRow, toAccount, toEntry, toTransfer } from '../rows.js'
import { toOutcome } from './booking.js'
import { closeSoon, connectClient, openPool } from './connections.js'
import { explainPreparing, explainReading, UnusableDatabase } from './faults.js'
import { GroupBooking } from './group-booking.js'
import { migrate } from './migrate.js'
import {
  accountSql,
  accountsOfSql,
  entriesOfSql,
  openAccountsSql,
  pruneSql,
  sharedSecretSql,
  transferSql,
} from './statements.js'

export interface PostgresLedgerOptions {
  /** `postgres://` URL, with database; `sslmode=verify-full` for TLS. */
  url: string
  /** Runs after the schema is there and before anything else is served, again if it fails: such as opening the first accounts. */
  whenPrepared?: (ledger: PostgresLedger) => Promise<unknown>
  /** Told of each new reason that keeps the database from being prepared, which is tried every second; without one once it is. */
  onChange?: (fault: unknown) => void
}

const maxRequestsWaiting = 1000
const retryMs = 1000
/** How long a start waits for the database before it goes on without. */
const patienceMs = 5000
const closeTimeoutMs = 1000
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The ledger in PostgreSQL, 15 or newer, for any number of replicas. Bookings that arrive together are one statement. Answers
 * within two seconds: with `LedgerUnavailable` while the server is out of reach or busy, and works again by itself when it is back.
 */
export class PostgresLedger implements Ledger {
  readonly #pool: Pool
  readonly #options: PostgresLedgerOptions
  readonly #bookings = new GroupBooking(() => this.#connect())
  #isPrepared = false
  #isClosed = false

  private constructor(pool: Pool, options: PostgresLedgerOptions) {
    this.#pool = pool
    this.#options = options
    // An idle connection that breaks is replaced by the pool; whoever needs one next is told if that fails.
    pool.on('error', () => undefined)
  }

  /**
   * Opens the ledger and brings its schema up to date. When the server is out of reach, resolves all the same and goes on
   * trying. Throws `UnusableDatabase` when only its operator can help: wrong password, no such database, too old a version.
   */
  static async open(options: PostgresLedgerOptions): Promise<PostgresLedger> {
    const ledger = new PostgresLedger(await openPool(options.url), options)
    const attempt = ledger.#prepare()
    try {
      await Promise.race([attempt, delay(patienceMs, undefined, { ref: false })])
    } catch (error) {
      if (error instanceof UnusableDatabase) {
        await ledger.close()
        throw error
      }
    }
    void ledger.#prepareUntilDone(attempt)
    return ledger
  }

  async accountsOf({ issuer, subject }: Owner): Promise<Account[]> {
    const rows = await this.#read<AccountRow>('accounts_of', accountsOfSql, [issuer, subject])
    return rows.map(toAccount)
  }

  async account({ issuer, subject }: Owner, accountId: string): Promise<Account | undefined> {
    if (!uuid.test(accountId)) return undefined
    const rows = await this.#read<AccountRow>('account', accountSql, [accountId, issuer, subject])
    return rows.map(toAccount)[0]
  }

  async entriesOf(
    owner: Owner,
    accountId: string,
    { limit, before }: { limit: number; before: number | undefined },
  ): Promise<AccountEntry[] | undefined> {
    if ((await this.account(owner, accountId)) === undefined) return undefined
    const rows = await this.#read<EntryRow>('entries_of', entriesOfSql, [
      accountId,
      before ?? Number.MAX_SAFE_INTEGER,
      limit,
    ])
    return rows.map(toEntry)
  }

  async transfer({ issuer, subject }: Owner, transferId: string): Promise<Transfer | undefined> {
    if (!uuid.test(transferId)) return undefined
    const rows = await this.#read<TransferRow>('transfer', transferSql, [transferId, issuer, subject])
    return rows.map(toTransfer)[0]
  }

  async book(order: TransferOrder): Promise<BookingOutcome> {
    const row = await this.#bookings.submit(order)
    if (row === 'key-in-use') return { kind: row }
    const isStored = row.outcome === 'repeated' && row.booked_id !== null
    return toOutcome(row, order, isStored ? await this.#readBooked(order.owner, row.booked_id as string) : undefined)
  }

  /** A transfer that is known to be booked: when it cannot be read, "nothing was booked" would be a lie. */
  async #readBooked(owner: Owner, transferId: string): Promise<Transfer | undefined> {
    try {
      return await this.transfer(owner, transferId)
    } catch (error) {
      throw new OutcomeUnknown('the stored answer cannot be read', { cause: error })
    }
  }

  async openAccounts(issuer: string, accounts: readonly OpeningAccount[]): Promise<number> {
    if (accounts.length === 0) return 0
    const client = await this.#connectAtLeisure()
    const column = <T>(read: (account: OpeningAccount) => T): T[] => accounts.map(read)
    const columns = [
      column(() => randomUUID()),
      column(({ subject }) => subject),
      column(({ iban }) => iban),
      column(({ name }) => name),
      column(({ currency }) => currency),
      column(({ balanceMinorUnits }) => balanceMinorUnits),
    ]
    const { rowCount } = await client
      .query(openAccountsSql, [issuer, ...columns])
      .catch((error: unknown) => Promise.reject(explainReading(error)))
      .finally(() => closeSoon(client))
    return rowCount as number
  }

  async prune(nowMs: number): Promise<number> {
    const tables = ['spent_tokens', 'idempotency_records'] as const
    let pruned = 0
    for (const table of tables) {
      const { rowCount } = await this.#query({
        name: `prune_${table}`,
        text: pruneSql(table),
        values: [nowMs],
      })
      pruned += rowCount as number
    }
    return pruned
  }

  async sharedSecret(name: SharedSecretName): Promise<Uint8Array> {
    const [row] = await this.#read<{ secret: Buffer }>('shared_secret', sharedSecretSql, [name])
    return (row as NonNullable<typeof row>).secret
  }

  async isReachable(): Promise<boolean> {
    return this.#query({ name: 'is_reachable', text: 'select from stepgate.migrations limit 1' }).then(
      () => true,
      () => false,
    )
  }

  /** Lets go of the database within a second, even when it does not answer. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await Promise.race([this.#pool.end(), delay(closeTimeoutMs, undefined, { ref: false })])
  }

  async #read<Row extends QueryResultRow>(name: string, text: string, values: unknown[]): Promise<Row[]> {
    return (await this.#query<Row>({ name, text, values })).rows
  }

  async #query<Row extends QueryResultRow>(query: QueryConfig): Promise<QueryResult<Row>> {
    const client = await this.#connect()
    try {
      const result = await client.query<Row>(query)
      client.release()
      return result
    } catch (error) {
      const explained = explainReading(error)
      client.release(explained instanceof LedgerUnavailable)
      throw explained
    }
  }

  async #connect(): Promise<PoolClient> {
    if (!this.#isPrepared) throw new LedgerUnavailable('the database is not prepared yet')
    if (this.#pool.waitingCount >= maxRequestsWaiting)
      throw new LedgerUnavailable('too many requests wait for a connection')
    try {
      return await this.#pool.connect()
    } catch (error) {
      throw new LedgerUnavailable('there is no connection to PostgreSQL', { cause: error })
    }
  }

  async #connectAtLeisure(): Promise<Client> {
    try {
      return await connectClient(this.#options.url)
    } catch (error) {
      throw new LedgerUnavailable('there is no connection to PostgreSQL', { cause: error })
    }
  }

  async #prepare(): Promise<void> {
    try {
      const client = await connectClient(this.#options.url)
      try {
        await migrate(client)
      } finally {
        closeSoon(client)
      }
      await this.#options.whenPrepared?.(this)
      this.#isPrepared = true
    } catch (error) {
      throw explainPreparing(error)
    }
  }

  async #prepareUntilDone(attempt: Promise<void>): Promise<void> {
    let told: string | undefined
    let latest: Promise<void> | undefined = attempt
    while (latest !== undefined) {
      try {
        await latest
        if (told !== undefined) this.#options.onChange?.(undefined)
        return
      } catch (error) {
        const { message } = error as Error
        if (message !== told) this.#options.onChange?.(error)
        told = message
      }
      await delay(retryMs, undefined, { ref: false })
      // After closing nobody would hear of another attempt's failure.
      latest = this.#isClosed ? undefined : this.#prepare()
    }
  }
}
