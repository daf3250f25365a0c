import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { LedgerUnavailable, OutcomeUnknown } from '../ledger.js'
import { type BackgroundConnection, isBusy, isStorageFault } from './connection.js'
import type { Writer } from './writer.js'

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
 * Lets the orders that arrive while a transaction is under way share the next one, and with it one fsync. When one of them
 * fails, everything is undone and done again with a savepoint for each, so that it takes no other with it. Every caller is
 * answered after the commit. While another process holds the write lock it tries again on a timer, and gives up after 1.5 s.
 */
export class GroupCommit<Order, Outcome> {
  readonly #writer: Writer
  readonly #execute: (orders: readonly Order[]) => Outcome[]
  #waiting: Waiting<Order, Outcome>[] = []
  #running: Promise<void> | undefined

  /**
   * @param execute runs the statements of some orders and gives their outcomes in the same order; what it throws for several
   * is not told, and what it throws for one undoes that one alone
   */
  constructor(writer: Writer, execute: (orders: readonly Order[]) => Outcome[]) {
    this.#writer = writer
    this.#execute = execute
  }

  /** Queues an order. Rejects with `LedgerUnavailable`, `OutcomeUnknown`, or what `execute` threw. */
  submit(order: Order): Promise<Outcome> {
    if (this.#waiting.length >= maxWaiting) return Promise.reject(new LedgerUnavailable('too many orders are waiting'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, sinceMs: performance.now(), resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves once every queued order has been answered. */
  async drain(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    // What else this turn of the event loop brings shares the first transaction.
    await nextTurn()
    while (this.#waiting.length > 0) if (!(await this.#commitGroup())) await delay(busyRetryMs)
    this.#running = undefined
  }

  /** Resolves to false when no transaction could begin. */
  async #commitGroup(): Promise<boolean> {
    let group: Waiting<Order, Outcome>[] | undefined
    try {
      const answers = await this.#writer.transact(async (connection) => {
        group = this.#waiting.splice(0, maxGroupSize)
        return this.#executeTogether(group) ?? this.#executeEach(group, connection)
      })
      for (const answer of answers) answer()
    } catch (error) {
      if (group === undefined) {
        this.#giveUp(error)
        return false
      }
      const told = error instanceof OutcomeUnknown || error instanceof LedgerUnavailable
      const fault = told ? error : new LedgerUnavailable('the transaction failed', { cause: error })
      for (const { reject } of group) reject(fault)
    }
    return true
  }

  /** Returns undefined when an order failed; then what was written must be undone. */
  #executeTogether(group: readonly Waiting<Order, Outcome>[]): (() => void)[] | undefined {
    try {
      const outcomes = this.#execute(group.map(({ order }) => order))
      return group.map(
        ({ resolve }, index) =>
          () =>
            resolve(outcomes[index] as Outcome),
      )
    } catch {
      return undefined
    }
  }

  async #executeEach(
    group: readonly Waiting<Order, Outcome>[],
    connection: BackgroundConnection,
  ): Promise<(() => void)[]> {
    if (connection.inTransaction) await connection.exec('rollback')
    await connection.exec('begin immediate')
    const answers = []
    for (const waiting of group) answers.push(await this.#executeInSavepoint(waiting, connection))
    return answers
  }

  async #executeInSavepoint(
    { order, resolve, reject }: Waiting<Order, Outcome>,
    connection: BackgroundConnection,
  ): Promise<() => void> {
    try {
      await connection.exec('savepoint one_order')
      const [outcome] = this.#execute([order])
      await connection.exec('release one_order')
      return () => resolve(outcome as Outcome)
    } catch (error) {
      // A full disk undoes the whole transaction, and with it the savepoint: then the group fails together.
      if (!connection.inTransaction) throw error
      await connection.exec('rollback to one_order; release one_order')
      const fault = isStorageFault(error)
        ? new LedgerUnavailable('the ledger cannot be written', { cause: error })
        : error
      return () => reject(fault)
    }
  }

  /** While another process is at work, orders wait for a while; any other reason is none to wait. */
  #giveUp(error: unknown): void {
    const oldestMs = isBusy(error) ? performance.now() - maxBusyMs : Number.POSITIVE_INFINITY
    const unavailable = new LedgerUnavailable('the ledger cannot be written', { cause: error })
    const all = this.#waiting
    this.#waiting = all.filter(({ sinceMs }) => sinceMs >= oldestMs)
    for (const { sinceMs, reject } of all) if (sinceMs < oldestMs) reject(unavailable)
  }
}
