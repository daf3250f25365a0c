import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import type { PostgresServer } from '../helpers/postgres-server.js'
import { acrMfa, ibans, publicUrl } from '../helpers/test-api.js'
import type { TestIssuer } from '../helpers/test-issuer.js'

export interface BankOptions {
  /** Names the bank's tokens and keys, which in a Redis that banks share must differ. */
  name: string
  issuer: TestIssuer
  /** Where the ledger is: in this server's new database, else in SQLite. */
  postgres?: PostgresServer | undefined
  redisUrl?: string | undefined
}

/** A bank whose clients are alice and bob, each with 1,000,000.00 EUR: its environment without port, and its books. */
export class Bank {
  readonly name: string
  readonly issuer: TestIssuer
  readonly environment: Readonly<Record<string, string>>
  readonly hasRedis: boolean
  readonly #folder: string
  readonly #postgres: { server: PostgresServer; url: string } | undefined

  private constructor({ name, issuer, postgres, redisUrl }: BankOptions, databaseUrl: string) {
    const folder = mkdtempSync(join(tmpdir(), 'stepgate-bank-'))
    const accountsPath = join(folder, 'accounts.json')
    const common = { name: 'Current', currency: 'EUR', balance: '1000000.00' }
    const owners = ['alice', 'bob'] as const
    writeFileSync(accountsPath, JSON.stringify(owners.map((owner) => ({ owner, iban: ibans[owner], ...common }))))
    this.name = name
    this.issuer = issuer
    this.hasRedis = redisUrl !== undefined
    this.#folder = folder
    this.#postgres = postgres && { server: postgres, url: databaseUrl }
    this.environment = {
      ISSUER: issuer.url,
      AUDIENCE: publicUrl,
      DATA_DIR: join(folder, 'data'),
      ACCOUNTS_FILE: accountsPath,
      STEP_UP_ACR_VALUES: acrMfa,
      LOG_LEVEL: 'error',
      ...(postgres === undefined ? {} : { DATABASE_URL: databaseUrl }),
      ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }),
    }
  }

  static async open(options: BankOptions): Promise<Bank> {
    return new Bank(options, (await options.postgres?.createDatabase()) ?? '')
  }

  /**
   * Reads the books, over a connection of its own that is closed again: SQLite recovers after a kill only when nobody else has
   * the file open. `books.` before a table's name stands for its schema. Integers come back as bigint or as text.
   */
  async read<Row extends object>(sql: string): Promise<Row[]> {
    if (this.#postgres !== undefined) {
      return this.#postgres.server.query<Row>(this.#postgres.url, sql.replaceAll('books.', 'stepgate.'))
    }
    const connection = new Database(join(this.#folder, 'data', 'ledger.sqlite'), { timeout: 5000 })
    try {
      connection.pragma('query_only = ON')
      return connection.prepare(sql.replaceAll('books.', 'main.')).safeIntegers(true).all() as Row[]
    } finally {
      connection.close()
    }
  }

  /** Removes the folder. A database stays until its server goes. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
