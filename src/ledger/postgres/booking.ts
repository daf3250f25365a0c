import type { QueryConfig } from 'pg'
import {
  type BookingOutcome,
  type DeclineReason,
  idempotencyRetentionMs,
  type Transfer,
  type TransferOrder,
} from '../ledger.js'
import { makeTransferId } from '../transfer-id.js'

/** What `stepgate.book_transfers_1` answers about one order. */
export interface BookingRow {
  /** Which of the orders, from 0. */
  number: number
  /** `alone`: nothing was decided, because it depends on another order of the group. */
  outcome: 'decided' | 'repeated' | 'token-spent' | 'key-reused' | 'alone'
  token_spent: boolean
  reason: DeclineReason | null
  decided_request_id: string
  booked_id: string | null
}

/** The one statement that books a group of orders. Named, so that each connection parses it once. */
export function bookingQuery(orders: readonly TransferOrder[], lockTimeoutMs: number): QueryConfig {
  return {
    name: 'book_transfers',
    text: 'select * from stepgate.book_transfers_1($1, $2)',
    values: [JSON.stringify(orders.map(toRecord)), lockTimeoutMs],
  }
}

/** An order as the function reads it. What is undefined is left out, and null there. */
function toRecord({ owner, token, idempotency, requestId, nowMs, instruction }: TransferOrder, number: number): object {
  return {
    number,
    issuer: owner.issuer,
    subject: owner.subject,
    token_issuer: token.issuer,
    jti: token.jwtId,
    token_until_ms: token.rememberUntilMs,
    key: idempotency?.key,
    digest: idempotency?.requestDigest.toString('hex'),
    key_until_ms: nowMs + idempotencyRetentionMs,
    request_id: requestId,
    now_ms: nowMs,
    transfer_id: makeTransferId(nowMs),
    debtor_iban: instruction.debtorIban,
    creditor_iban: instruction.creditorIban,
    creditor_name: instruction.creditorName,
    currency: instruction.currency,
    amount: instruction.amount,
    amount_minor: String(instruction.amountMinorUnits),
    remittance: instruction.remittanceInformation,
  }
}

/** Reads the answer about one order. A transfer that was booked before is passed in, since the answer holds only its id. */
export function toOutcome(row: BookingRow, order: TransferOrder, bookedBefore: Transfer | undefined): BookingOutcome {
  const { outcome, reason, token_spent: tokenSpent } = row
  if (outcome === 'token-spent') return { kind: outcome }
  if (outcome === 'key-reused') return { kind: outcome, tokenSpent }
  const repeated = outcome === 'repeated'
  if (reason !== null) {
    const decision = { kind: 'declined', reason, requestId: row.decided_request_id } as const
    return { kind: 'decided', decision, repeated, tokenSpent }
  }
  const transfer = bookedBefore ?? asBooked(order, row.booked_id as string)
  return { kind: 'decided', decision: { kind: 'booked', transfer }, repeated, tokenSpent }
}

function asBooked({ instruction, nowMs }: TransferOrder, id: string): Transfer {
  const { amountMinorUnits, ...asInstructed } = instruction
  return { id, bookedAtMs: nowMs, ...asInstructed }
}
