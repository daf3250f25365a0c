import type { PoolClient } from 'pg'
import { LedgerUnavailable, type TransferOrder } from '../ledger.js'
import { type BookingRow, bookingQuery } from './booking.js'
import { explainBooking, isKeyInUse } from './faults.js'

interface Waiting {
  order: TransferOrder
  sinceMs: number
  resolve: (row: BookingRow | 'key-in-use') => void
  reject: (error: unknown) => void
}

const maxGroupSize = 64
/** Groups that are under way at a time in this process: while they are, the next orders gather. */
const maxGroups = 4
const maxWaiting = 4096
const maxWaitMs = 500
/** A group does not wait long for a lock, because whoever is in it waits as well. */
const groupLockTimeoutMs = 300
const loneLockTimeoutMs = 1000

/**
 * Lets orders that arrive together share one statement: one round trip, one transaction, one flush to disk. The first order
 * goes at once; the next ones gather while groups are under way. When a group is refused, because of one order or because of
 * a lock that one of them waits for, each of its orders is sent again alone, so that none fails for another.
 */
export class GroupBooking {
  readonly #connect: () => Promise<PoolClient>
  #waiting: Waiting[] = []
  #groups = 0

  /** @param connect gives a connection, or throws `LedgerUnavailable` */
  constructor(connect: () => Promise<PoolClient>) {
    this.#connect = connect
  }

  /** Books an order. Rejects with `LedgerUnavailable`, `OutcomeUnknown`, or an error of the statement itself. */
  submit(order: TransferOrder): Promise<BookingRow | 'key-in-use'> {
    if (this.#waiting.length >= maxWaiting) return Promise.reject(new LedgerUnavailable('too many orders are waiting'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, sinceMs: performance.now(), resolve, reject })
      if (this.#groups < maxGroups) void this.#runGroups()
    })
  }

  /** Sends group after group for as long as orders are waiting. */
  async #runGroups(): Promise<void> {
    this.#groups += 1
    // Orders that arrived in the same turn of the event loop are in the queue after this.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0) await this.#runGroup()
    this.#groups -= 1
  }

  async #runGroup(): Promise<void> {
    let client: PoolClient
    try {
      client = await this.#connect()
    } catch (error) {
      for (const { reject } of this.#waiting.splice(0)) reject(error)
      return
    }
    const group = this.#takeGroup()
    if (group.length === 0) return client.release()
    const mayPassAlone = await send(client, group, group.length === 1 ? loneLockTimeoutMs : groupLockTimeoutMs)
    if (mayPassAlone) await Promise.all(group.map((waiting) => this.#runAlone(waiting)))
  }

  async #runAlone(waiting: Waiting): Promise<void> {
    try {
      await send(await this.#connect(), [waiting], loneLockTimeoutMs)
    } catch (error) {
      waiting.reject(error)
    }
  }

  /** The next orders in line. One that waited too long is told so instead, to be answered in time. */
  #takeGroup(): Waiting[] {
    const oldestMs = performance.now() - maxWaitMs
    const group: Waiting[] = []
    while (group.length < maxGroupSize) {
      const next = this.#waiting.shift()
      if (next === undefined) break
      if (next.sinceMs >= oldestMs) group.push(next)
      else next.reject(new LedgerUnavailable('PostgreSQL is too busy'))
    }
    return group
  }
}

/** Sends a group and answers its orders. Resolves to true, with nobody answered, when they may pass one by one. */
async function send(client: PoolClient, group: readonly Waiting[], lockTimeoutMs: number): Promise<boolean> {
  try {
    const orders = group.map(({ order }) => order)
    const { rows } = await client.query<BookingRow>(bookingQuery(orders, lockTimeoutMs))
    client.release()
    for (const row of rows) group[row.number]?.resolve(row)
    return false
  } catch (error) {
    const { fault, isRefused, mayPassAlone } = explainBooking(error)
    client.release(!isRefused)
    if (mayPassAlone && group.length > 1) return true
    for (const { resolve, reject } of group) {
      if (isKeyInUse(fault)) resolve('key-in-use')
      else reject(fault)
    }
    return false
  }
}
