import type { QueryConfig } from 'pg'
import {
  type BookingOutcome,
  type DeclineReason,
  idempotencyRetentionMs,
  type Transfer,
  type TransferOrder,
} from '../ledger.js'

/** What `stepgate.book_transfer_1` answers. */
export interface BookingRow {
  outcome: 'decided' | 'repeated' | 'token-spent' | 'key-reused' | 'key-in-use'
  token_spent: boolean | null
  reason: DeclineReason | null
  decided_request_id: string | null
  booked_id: string | null
}

/** The one statement of an order. Named, so that each connection parses it once. */
export function bookingQuery(order: TransferOrder, transferId: string): QueryConfig {
  const { owner, token, idempotency, requestId, nowMs, instruction } = order
  return {
    name: 'book_transfer',
    text: `select * from stepgate.book_transfer_1(
      $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
    values: [
      owner.issuer,
      owner.subject,
      token.issuer,
      token.jwtId,
      token.rememberUntilMs,
      idempotency?.key,
      idempotency?.requestDigest,
      nowMs + idempotencyRetentionMs,
      requestId,
      nowMs,
      transferId,
      instruction.debtorIban,
      instruction.creditorIban,
      instruction.creditorName,
      instruction.currency,
      instruction.amount,
      instruction.amountMinorUnits,
      instruction.remittanceInformation,
    ],
  }
}

/** Reads the answer. A transfer that was booked before is passed in, since the answer holds only its id. */
export function toOutcome(row: BookingRow, order: TransferOrder, bookedBefore?: Transfer): BookingOutcome {
  const tokenSpent = row.token_spent === true
  if (row.outcome === 'token-spent' || row.outcome === 'key-in-use') return { kind: row.outcome }
  if (row.outcome === 'key-reused') return { kind: 'key-reused', tokenSpent }
  const repeated = row.outcome === 'repeated'
  if (row.reason !== null) {
    const decision = { kind: 'declined', reason: row.reason, requestId: row.decided_request_id as string } as const
    return { kind: 'decided', decision, repeated, tokenSpent }
  }
  const transfer = bookedBefore ?? asBooked(order, row.booked_id as string)
  return { kind: 'decided', decision: { kind: 'booked', transfer }, repeated, tokenSpent }
}

function asBooked({ instruction, nowMs }: TransferOrder, id: string): Transfer {
  const { amountMinorUnits, ...asInstructed } = instruction
  return { id, bookedAtMs: nowMs, ...asInstructed }
}
