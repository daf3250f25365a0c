import { LedgerUnavailable, OutcomeUnknown } from '../ledger.js'
import { type BackgroundConnection, isUndone } from './connection.js'

/**
 * The one connection that writes: one piece of work at a time, in the order in which they came. Begin and commit, with its
 * fsync, run on a thread of the driver's, so that the process goes on answering meanwhile.
 */
export class Writer {
  readonly #connection: BackgroundConnection
  readonly #onCommit: () => void
  #last: Promise<unknown> = Promise.resolve()

  /** @param onCommit is called after each commit that succeeded */
  constructor(connection: BackgroundConnection, onCommit: () => void) {
    this.#connection = connection
    this.#onCommit = onCommit
  }

  /**
   * Runs work in a transaction. Rejects with what kept the transaction from beginning, with what the work threw, when all of it
   * is undone, or, when the commit failed, with `LedgerUnavailable` or `OutcomeUnknown`.
   */
  transact<T>(work: (connection: BackgroundConnection) => T | Promise<T>): Promise<T> {
    return this.exclusively(() => this.#transact(work))
  }

  /** Runs work while no other work of this writer runs. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    // Whoever asked for the work is told how it ended; the next one only waits for it.
    this.#last = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }

  async #transact<T>(work: (connection: BackgroundConnection) => T | Promise<T>): Promise<T> {
    const connection = this.#connection
    await connection.exec('begin immediate')
    let committing = false
    try {
      const result = await work(connection)
      committing = true
      await connection.exec('commit')
      this.#onCommit()
      return result
    } catch (error) {
      await this.#rollback(error)
      if (!committing) throw error
      throw isUndone(error)
        ? new LedgerUnavailable('the transaction failed', { cause: error })
        : new OutcomeUnknown('the commit failed', { cause: error })
    }
  }

  /** A rollback that fails leaves the transaction open: then every later one fails to begin, and its callers are told. */
  async #rollback(cause: unknown): Promise<void> {
    if (!this.#connection.inTransaction) return
    try {
      await this.#connection.exec('rollback')
    } catch (error) {
      process.emitWarning(new AggregateError([cause, error], 'the ledger could not roll back'))
    }
  }
}
