import { LedgerUnavailable, OutcomeUnknown } from '../ledger.js'
import { type Connection, isBusy, isStorageFault, isUndone } from './connection.js'

interface Waiting<Order, Outcome> {
  order: Order
  sinceMs: number
  resolve: (outcome: Outcome) => void
  reject: (error: unknown) => void
}

const maxGroupSize = 64
const maxWaiting = 4096
const busyRetryMs = 10
const maxBusyMs = 1500

/**
 * Lets orders that arrive together share one transaction, and with it one fsync. When one of them fails, everything is undone
 * and done again with a savepoint for each, so that it takes no other with it. Every caller is answered after the commit.
 * While another process holds the write lock it tries again on a timer, so that the process goes on answering, and gives up
 * after 1.5 s.
 */
export class GroupCommit<Order, Outcome> {
  readonly #connection: Connection
  readonly #execute: (orders: readonly Order[]) => Outcome[]
  #waiting: Waiting<Order, Outcome>[] = []
  #scheduled = false
  #waitingBefore = 0
  readonly #drained: (() => void)[] = []

  /**
   * @param execute runs the statements of some orders and gives their outcomes in the same order; what it throws for several
   * is not told, and what it throws for one undoes that one alone
   */
  constructor(connection: Connection, execute: (orders: readonly Order[]) => Outcome[]) {
    this.#connection = connection
    this.#execute = execute
  }

  /** Queues an order. Rejects with `LedgerUnavailable`, `OutcomeUnknown`, or what `execute` threw. */
  submit(order: Order): Promise<Outcome> {
    if (this.#waiting.length >= maxWaiting) return Promise.reject(new LedgerUnavailable('too many orders are waiting'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, sinceMs: performance.now(), resolve, reject })
      if (!this.#scheduled) this.#schedule(0)
    })
  }

  /** Resolves once every queued order has been answered. */
  drain(): Promise<void> {
    if (!this.#scheduled) return Promise.resolve()
    return new Promise((resolve) => {
      this.#drained.push(resolve)
    })
  }

  #schedule(delayMs: number): void {
    this.#scheduled = true
    if (delayMs === 0) setImmediate(() => this.#commitGroup())
    else setTimeout(() => this.#commitGroup(), delayMs)
  }

  /** A turn of the event loop that brought orders may bring more with the next, up to a whole group. */
  #commitGroup(): void {
    if (this.#waiting.length > this.#waitingBefore && this.#waiting.length < maxGroupSize) {
      this.#waitingBefore = this.#waiting.length
      this.#schedule(0)
      return
    }
    this.#waitingBefore = 0
    const group = this.#waiting.splice(0, maxGroupSize)
    try {
      this.#connection.exec('begin immediate')
    } catch (error) {
      this.#postpone(group, error)
      return
    }
    let committing = false
    try {
      const answers = this.#executeTogether(group) ?? group.map((waiting) => this.#executeInSavepoint(waiting))
      committing = true
      this.#connection.exec('commit')
      for (const answer of answers) answer()
    } catch (error) {
      const fault =
        committing && !isUndone(error)
          ? new OutcomeUnknown('the commit failed', { cause: error })
          : new LedgerUnavailable('the transaction failed', { cause: error })
      for (const { reject } of group) reject(fault)
      this.#rollback(error)
    }
    this.#continue(0)
  }

  /** Returns undefined when the group failed, with all of it undone and a new transaction open. */
  #executeTogether(group: readonly Waiting<Order, Outcome>[]): (() => void)[] | undefined {
    try {
      const outcomes = this.#execute(group.map(({ order }) => order))
      return group.map(
        ({ resolve }, index) =>
          () =>
            resolve(outcomes[index] as Outcome),
      )
    } catch {
      if (this.#connection.inTransaction) this.#connection.exec('rollback')
      this.#connection.exec('begin immediate')
      return undefined
    }
  }

  /** A rollback that fails leaves the transaction open: then every later group fails to begin, and its callers are told. */
  #rollback(cause: unknown): void {
    if (!this.#connection.inTransaction) return
    try {
      this.#connection.exec('rollback')
    } catch (error) {
      process.emitWarning(new AggregateError([cause, error], 'the ledger could not roll back'))
    }
  }

  #executeInSavepoint({ order, resolve, reject }: Waiting<Order, Outcome>): () => void {
    try {
      this.#connection.exec('savepoint one_order')
      const [outcome] = this.#execute([order])
      this.#connection.exec('release one_order')
      return () => resolve(outcome as Outcome)
    } catch (error) {
      // A full disk undoes the whole transaction, and with it the savepoint: then the group fails together.
      if (!this.#connection.inTransaction) throw error
      this.#connection.exec('rollback to one_order; release one_order')
      const fault = isStorageFault(error)
        ? new LedgerUnavailable('the ledger cannot be written', { cause: error })
        : error
      return () => reject(fault)
    }
  }

  #postpone(group: Waiting<Order, Outcome>[], error: unknown): void {
    const oldestMs = isBusy(error) ? performance.now() - maxBusyMs : Number.POSITIVE_INFINITY
    const unavailable = new LedgerUnavailable('the ledger cannot be written', { cause: error })
    const all = [...group, ...this.#waiting]
    this.#waiting = all.filter(({ sinceMs }) => sinceMs >= oldestMs)
    for (const { sinceMs, reject } of all) if (sinceMs < oldestMs) reject(unavailable)
    this.#continue(busyRetryMs)
  }

  #continue(delayMs: number): void {
    if (this.#waiting.length > 0) {
      this.#schedule(delayMs)
      return
    }
    this.#scheduled = false
    for (const resolve of this.#drained.splice(0)) resolve()
  }
}
