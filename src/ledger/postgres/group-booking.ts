import type { PoolClient } from 'pg'
import { LedgerUnavailable, OutcomeUnknown, type TransferOrder } from '../ledger.js'
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
const maxOrdersWaiting = 4096
const maxWaitMs = 500
/** From its arrival an order is answered within this time, whatever PostgreSQL does. */
const deadlineMs = 1700
/** A group does not wait long for a lock, because whoever is in it waits as well. */
const groupLockTimeoutMs = 200
const loneLockTimeoutMs = 1000
/** With less time left nothing is sent any more. Half of it is for the answer, after the last lock that is waited for. */
const leastTimeMs = 300

/**
 * Lets orders that arrive together share one statement: one round trip, one transaction, one flush to disk. The first order
 * goes at once; the next ones gather while groups are under way. A group that is refused, because of one order or of a lock
 * that one of them waits for, is sent again in halves, so that an order fails only for itself.
 */
export class GroupBooking {
  readonly #connect: () => Promise<PoolClient>
  #waiting: Waiting[] = []
  #groups = 0
  #isGathering = false
  #expiry: NodeJS.Timeout | undefined

  /** @param connect gives a connection, or throws `LedgerUnavailable` */
  constructor(connect: () => Promise<PoolClient>) {
    this.#connect = connect
  }

  /** Books an order. Rejects with `LedgerUnavailable`, `OutcomeUnknown`, or an error of the statement itself. */
  submit(order: TransferOrder): Promise<BookingRow | 'key-in-use'> {
    if (this.#waiting.length >= maxOrdersWaiting)
      return Promise.reject(new LedgerUnavailable('too many orders are waiting'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ order, sinceMs: performance.now(), resolve, reject })
      this.#expiry ??= setTimeout(() => this.#expire(), maxWaitMs)
      void this.#gather()
    })
  }

  /** Starts a group with the orders that arrive in this turn of the event loop, unless enough groups are under way. */
  async #gather(): Promise<void> {
    if (this.#isGathering || this.#groups >= maxGroups) return
    this.#isGathering = true
    await new Promise(setImmediate)
    this.#isGathering = false
    this.#groups += 1
    const hadConnection = await this.#runNext()
    this.#groups -= 1
    if (hadConnection && this.#waiting.length > 0) void this.#gather()
  }

  /** Resolves to false without a connection. */
  async #runNext(): Promise<boolean> {
    let client: PoolClient
    try {
      client = await this.#connect()
    } catch (error) {
      // While other groups have connections, those who wait here are their next ones.
      if (this.#groups === 1) for (const { reject } of this.#waiting.splice(0)) reject(error)
      return false
    }
    const group = this.#waiting.splice(0, maxGroupSize)
    if (this.#waiting.length > 0) void this.#gather()
    await this.#run(client, group)
    return true
  }

  /** Sends a group, and again in parts what is left undecided. Answers every order of the group. */
  async #run(client: PoolClient, group: readonly Waiting[]): Promise<void> {
    for (const part of await send(client, group)) {
      try {
        await this.#run(await this.#connect(), part)
      } catch (error) {
        for (const { reject } of part) reject(error)
      }
    }
  }

  /** Refuses the orders that have waited too long for their turn. */
  #expire(): void {
    const oldestMs = performance.now() - maxWaitMs
    const unavailable = new LedgerUnavailable('PostgreSQL is too busy')
    while (this.#waiting[0] !== undefined && this.#waiting[0].sinceMs <= oldestMs)
      this.#waiting.shift()?.reject(unavailable)
    const [next] = this.#waiting
    this.#expiry = next && setTimeout(() => this.#expire(), next.sinceMs - oldestMs)
  }
}

/** Sends a group and answers its orders, but for those that are to be sent again. Resolves to these, in parts. */
async function send(client: PoolClient, group: readonly Waiting[]): Promise<Waiting[][]> {
  const leftMs = Math.min(...group.map(({ sinceMs }) => sinceMs)) + deadlineMs - performance.now()
  if (group.length === 0 || leftMs < leastTimeMs) {
    client.release()
    for (const { reject } of group) reject(new LedgerUnavailable('PostgreSQL is too busy'))
    return []
  }
  const lockTimeoutMs = Math.min(group.length === 1 ? loneLockTimeoutMs : groupLockTimeoutMs, leftMs - leastTimeMs / 2)
  const orders = group.map(({ order }) => order)
  const query = { ...bookingQuery(orders, Math.floor(lockTimeoutMs)), query_timeout: Math.ceil(leftMs) }
  try {
    const { rows } = await client.query<BookingRow>(query)
    client.release()
    return answer(group, rows)
  } catch (error) {
    const { fault, isRefused, mayPassAlone } = explainBooking(error)
    // A connection whose statement was merely refused is sound; any other is thrown away.
    client.release(!isRefused)
    if (mayPassAlone && group.length > 1) {
      const half = Math.ceil(group.length / 2)
      return [group.slice(0, half), group.slice(half)]
    }
    for (const { resolve, reject } of group) {
      if (isKeyInUse(fault)) resolve('key-in-use')
      else reject(fault)
    }
    return []
  }
}

/** Hands each order its row. An order that depends on another of its group was left undecided and is sent alone. */
function answer(group: readonly Waiting[], rows: readonly BookingRow[]): Waiting[][] {
  const byNumber = new Map(rows.map((row) => [row.number, row]))
  return group.flatMap((waiting, number) => {
    const row = byNumber.get(number)
    if (row?.outcome === 'alone') return [[waiting]]
    if (row === undefined) waiting.reject(new OutcomeUnknown('PostgreSQL did not answer for an order'))
    else waiting.resolve(row)
    return []
  })
}
