import { randomUUID } from 'node:crypto'
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
import { transferColumns } from './columns.js'
import type { Connection } from './connection.js'

interface AccountRow {
  id: string
  issuer: string
  subject: string
  currency: string
  balance: bigint
  last_entry: bigint
}

interface IdempotencyRow {
  request_digest: Buffer
  request_id: string
  transfer_id: string | null
  decline_reason: DeclineReason | null
}

/**
 * The statements of one booking, prepared once. The returned function runs inside the caller's transaction: idempotency
 * record first, then the token, then the money, then the record of what was decided. A decline is written like a booking;
 * only an unexpected error throws.
 */
export function prepareBooking(connection: Connection): (order: TransferOrder) => BookingOutcome {
  const findRecord = connection.prepare(
    'select * from idempotency_records where issuer = ? and subject = ? and key = ? and remember_until_ms > ?',
  )
  const putRecord = connection.prepare('insert or replace into idempotency_records values (?, ?, ?, ?, ?, ?, ?, ?)')
  const findSpent = connection.prepare('select 1 from spent_tokens where issuer = ? and jti = ?')
  const spend = connection.prepare('insert into spent_tokens values (?, ?, ?) on conflict do nothing')
  const findAccount = connection.prepare(
    'select id, issuer, subject, currency, balance, last_entry from accounts where iban = ?',
  )
  const findTransfer = connection.prepare(`select ${transferColumns} where transfers.id = ?`)
  const putTransfer = connection.prepare('insert into transfers values (?, ?, ?, ?, ?, ?, ?, ?)')
  const putPosting = connection.prepare('insert into postings values (?, ?, ?, ?)')
  const moveBalance = connection.prepare('update accounts set balance = balance + ?, last_entry = ? where id = ?')

  return function book(order: TransferOrder): BookingOutcome {
    const repeated = findRepeated(order)
    if (repeated !== undefined) return repeated
    const { token } = order
    if (spend.run(token.issuer, token.jwtId, token.rememberUntilMs).changes === 0) return { kind: 'token-spent' }
    const decision = decide(order)
    remember(order, decision)
    return { kind: 'decided', decision, repeated: false, tokenSpent: true }
  }

  function findRepeated({ owner, idempotency, token, nowMs }: TransferOrder): BookingOutcome | undefined {
    if (idempotency === undefined) return undefined
    const record = findRecord.get(owner.issuer, owner.subject, idempotency.key, nowMs) as IdempotencyRow | undefined
    if (record === undefined) return undefined
    const tokenSpent = findSpent.get(token.issuer, token.jwtId) !== undefined
    if (!idempotency.requestDigest.equals(record.request_digest)) return { kind: 'key-reused', tokenSpent }
    return { kind: 'decided', decision: recall(record), repeated: true, tokenSpent }
  }

  function recall(record: IdempotencyRow): TransferDecision {
    if (record.decline_reason !== null) {
      return { kind: 'declined', reason: record.decline_reason, requestId: record.request_id }
    }
    return { kind: 'booked', transfer: toTransfer(findTransfer.get(record.transfer_id) as TransferRow) }
  }

  function decide(order: TransferOrder): TransferDecision {
    const { owner, instruction, nowMs, requestId } = order
    const debtor = findAccount.get(instruction.debtorIban) as AccountRow | undefined
    const creditor = findAccount.get(instruction.creditorIban) as AccountRow | undefined
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
    const transfer: Transfer = { id: randomUUID(), bookedAtMs: nowMs, ...asInstructed }
    putTransfer.run(
      transfer.id,
      nowMs,
      debtor.id,
      creditor.id,
      transfer.creditorName ?? null,
      transfer.currency,
      transfer.amount,
      transfer.remittanceInformation ?? null,
    )
    post(debtor, transfer.id, -amountMinorUnits)
    post(creditor, transfer.id, amountMinorUnits)
    return { kind: 'booked', transfer }
  }

  function post(account: AccountRow, transferId: string, amountMinorUnits: bigint): void {
    const number = account.last_entry + 1n
    putPosting.run(account.id, number, transferId, amountMinorUnits)
    moveBalance.run(amountMinorUnits, number, account.id)
  }

  function remember({ owner, idempotency, requestId, nowMs }: TransferOrder, decision: TransferDecision): void {
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

function findDeclineReason(
  debtor: AccountRow,
  creditor: AccountRow,
  instruction: TransferOrder['instruction'],
): DeclineReason | undefined {
  const { currency, amountMinorUnits } = instruction
  if (debtor.id === creditor.id) return 'same-account'
  if (debtor.currency !== currency || creditor.currency !== currency) return 'currency-mismatch'
  if (debtor.balance < amountMinorUnits) return 'insufficient-funds'
  if (creditor.balance + amountMinorUnits > maxMinorUnits) return 'balance-limit'
  return undefined
}
