import { maxMinorUnits } from '../../core/money.js'
import {
  type BookingOutcome,
  type DeclineReason,
  idempotencyRetentionMs,
  type Transfer,
  type TransferDecision,
  type TransferOrder,
} from '../ledger.js'
import { type TransferRow, toTransfer } from '../rows.js'
import { makeTransferId } from '../transfer-id.js'
import { type AccountState, type Books, prepareBooks, tokenKey } from './books.js'
import { transferColumns } from './columns.js'
import type { Connection } from './connection.js'

interface IdempotencyRow {
  request_digest: Buffer
  request_id: string
  transfer_id: string | null
  decline_reason: DeclineReason | null
}

interface IdempotencyRecord {
  requestDigest: Buffer
  decision: TransferDecision
}

/**
 * Prepares the booking of groups of orders. The returned function runs inside the caller's transaction and decides one order
 * after the other, each seeing what those before it did: idempotency record first, then the token, then the money. Then it
 * writes what was decided, a decline like a booking. Only an unexpected error throws; the transaction must be undone then.
 */
export function prepareBooking(connection: Connection): (orders: readonly TransferOrder[]) => BookingOutcome[] {
  const { open, save } = prepareBooks(connection)
  const findRecord = connection.prepare(
    'select * from idempotency_records where issuer = ? and subject = ? and key = ? and remember_until_ms > ?',
  )
  const putRecord = connection.prepare('insert or replace into idempotency_records values (?, ?, ?, ?, ?, ?, ?, ?)')
  const findTransfer = connection.prepare(`select ${transferColumns} where transfers.id = ?`)

  return function book(orders: readonly TransferOrder[]): BookingOutcome[] {
    const books = open(orders)
    const newRecords = new Map<string, IdempotencyRecord>()
    const decided: [TransferOrder, TransferDecision][] = []
    const outcomes = orders.map((order): BookingOutcome => {
      const tokenSpent = books.spentTokens.has(tokenKey(order.token))
      const record = newRecords.get(recordKey(order)) ?? readRecord(order)
      if (record !== undefined) return repeat(record, order, tokenSpent)
      if (tokenSpent) return { kind: 'token-spent' }
      spend(order, books)
      const decision = decide(order, books)
      decided.push([order, decision])
      if (order.idempotency !== undefined) newRecords.set(recordKey(order), { ...order.idempotency, decision })
      return { kind: 'decided', decision, repeated: false, tokenSpent: true }
    })
    save(books)
    for (const [order, decision] of decided) writeRecord(order, decision)
    return outcomes
  }

  function readRecord({ owner, idempotency, nowMs }: TransferOrder): IdempotencyRecord | undefined {
    if (idempotency === undefined) return undefined
    const row = findRecord.get(owner.issuer, owner.subject, idempotency.key, nowMs) as IdempotencyRow | undefined
    return row && { requestDigest: row.request_digest, decision: recall(row) }
  }

  function recall(row: IdempotencyRow): TransferDecision {
    if (row.decline_reason !== null) {
      return { kind: 'declined', reason: row.decline_reason, requestId: row.request_id }
    }
    return { kind: 'booked', transfer: toTransfer(findTransfer.get(row.transfer_id) as TransferRow) }
  }

  function writeRecord({ owner, idempotency, requestId, nowMs }: TransferOrder, decision: TransferDecision): void {
    if (idempotency === undefined) return
    putRecord.run(
      owner.issuer,
      owner.subject,
      idempotency.key,
      idempotency.requestDigest,
      requestId,
      decision.kind === 'booked' ? decision.transfer.id : null,
      decision.kind === 'declined' ? decision.reason : null,
      nowMs + idempotencyRetentionMs,
    )
  }
}

function recordKey({ owner, idempotency }: TransferOrder): string {
  return JSON.stringify([owner.issuer, owner.subject, idempotency?.key])
}

function repeat(record: IdempotencyRecord, { idempotency }: TransferOrder, tokenSpent: boolean): BookingOutcome {
  if (idempotency?.requestDigest.equals(record.requestDigest) !== true) return { kind: 'key-reused', tokenSpent }
  return { kind: 'decided', decision: record.decision, repeated: true, tokenSpent }
}

function spend({ token }: TransferOrder, { spentTokens, newTokens }: Books): void {
  spentTokens.add(tokenKey(token))
  newTokens.push(token)
}

function decide({ owner, instruction, nowMs, requestId }: TransferOrder, books: Books): TransferDecision {
  const debtor = books.accounts.get(instruction.debtorIban)
  const creditor = books.accounts.get(instruction.creditorIban)
  if (
    debtor === undefined ||
    creditor === undefined ||
    debtor.issuer !== owner.issuer ||
    debtor.subject !== owner.subject
  ) {
    return { kind: 'declined', reason: 'not-found', requestId }
  }
  const reason = findDeclineReason(debtor, creditor, instruction)
  if (reason !== undefined) return { kind: 'declined', reason, requestId }
  const { amountMinorUnits, ...asInstructed } = instruction
  const transfer: Transfer = { id: makeTransferId(nowMs), bookedAtMs: nowMs, ...asInstructed }
  books.newTransfers.push({ transfer, debtor, creditor })
  for (const [account, change] of [
    [debtor, -amountMinorUnits],
    [creditor, amountMinorUnits],
  ] as const) {
    account.balance += change
    account.lastEntry += 1
    books.newPostings.push({ account, number: account.lastEntry, transferId: transfer.id, amountMinorUnits: change })
  }
  return { kind: 'booked', transfer }
}

function findDeclineReason(
  debtor: AccountState,
  creditor: AccountState,
  instruction: TransferOrder['instruction'],
): DeclineReason | undefined {
  const { currency, amountMinorUnits } = instruction
  if (debtor.id === creditor.id) return 'same-account'
  if (debtor.currency !== currency || creditor.currency !== currency) return 'currency-mismatch'
  if (debtor.balance < amountMinorUnits) return 'insufficient-funds'
  if (creditor.balance + amountMinorUnits > maxMinorUnits) return 'balance-limit'
  return undefined
}
