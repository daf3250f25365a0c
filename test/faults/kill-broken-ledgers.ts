import { randomUUID } from 'node:crypto'
import Database from 'libsql'
import type { Ledger } from '#src/ledger/ledger.js'

/** How late a ledger that commits late does so. */
const latenessMs = 100

/** Ledgers that break the promise, each in one way: the audit must find each of them out. */
export const brokenLedgers = {
  /** Answers before it commits; nobody sees that unless the process dies in between. */
  'commits-late': commitLate,
  /** Leaves single use to the rings, which forget when the process ends. */
  'forgets-tokens': (ledger: Ledger): void => {
    const book = ledger.book.bind(ledger)
    ledger.book = (order) => book({ ...order, token: { ...order.token, jwtId: randomUUID() } })
  },
  /** Takes a repeat for a transfer of its own. */
  'forgets-keys': (ledger: Ledger): void => {
    const book = ledger.book.bind(ledger)
    ledger.book = (order) => book({ ...order, idempotency: undefined })
  },
  /** Books twice what it is asked to book once. */
  'books-twice': (ledger: Ledger): void => {
    const book = ledger.book.bind(ledger)
    ledger.book = async (order) => {
      await book({ ...order, idempotency: undefined, token: { ...order.token, jwtId: randomUUID() } })
      return book(order)
    }
  },
  /** Answers nobody who brings a key. */
  'never-answers': (ledger: Ledger): void => {
    const book = ledger.book.bind(ledger)
    ledger.book = (order) => (order.idempotency === undefined ? book(order) : new Promise(() => undefined))
  },
} as const satisfies Record<string, (ledger: Ledger) => void>

export type BrokenLedgerName = keyof typeof brokenLedgers

function commitLate(): void {
  const { exec } = Database.prototype
  const pending = new WeakMap<object, NodeJS.Timeout>()
  Database.prototype.exec = function (sql) {
    const commitNow = () => {
      clearTimeout(pending.get(this))
      if (pending.delete(this)) exec.call(this, 'commit')
    }
    if (sql !== 'commit') {
      commitNow()
      return exec.call(this, sql)
    }
    pending.set(this, setTimeout(commitNow, latenessMs))
    return this
  }
}
