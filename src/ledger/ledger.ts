import type { OpeningAccount } from '../core/opening-accounts.js'
import type { Payment } from '../core/transaction-binding.js'

/** Who owns an account: a subject of an issuer. */
export interface Owner {
  issuer: string
  subject: string
}

export interface Account {
  id: string
  iban: string
  name: string
  currency: string
  balanceMinorUnits: bigint
}

/** What the client asked for, parsed. */
export type TransferInstruction = Payment

/** A booked transfer. */
export interface Transfer extends Omit<TransferInstruction, 'amountMinorUnits'> {
  id: string
  bookedAtMs: number
}

/** One posting of an account, seen from that account. */
export interface AccountEntry {
  /** Position in the account's history, from 1 upwards without gaps. */
  number: number
  transferId: string
  bookedAtMs: number
  counterpartyIban: string
  currency: string
  /** Negative when money left the account. */
  amountMinorUnits: bigint
  remittanceInformation: string | undefined
}

/** Everything that one booking decides about, in one database transaction. */
export interface TransferOrder {
  owner: Owner
  instruction: TransferInstruction
  token: {
    issuer: string
    jwtId: string
    /** Until when the spent token must be remembered. */
    rememberUntilMs: number
  }
  idempotency: { key: string; requestDigest: Buffer } | undefined
  /** UUID of the request that brings the order; kept with a decline, so that a repeated answer names the same occurrence. */
  requestId: string
  nowMs: number
}

/** Why an order was declined after its token was consumed. */
export type DeclineReason = 'not-found' | 'same-account' | 'currency-mismatch' | 'insufficient-funds' | 'balance-limit'

export type TransferDecision =
  | { kind: 'booked'; transfer: Transfer }
  | { kind: 'declined'; reason: DeclineReason; requestId: string }

export type BookingOutcome =
  /** Decided now, or (`repeated`) before under the same idempotency key; a repeat consumes nothing. */
  | { kind: 'decided'; decision: TransferDecision; repeated: boolean; tokenSpent: boolean }
  /** The token was used before, and no stored answer belongs to the request. */
  | { kind: 'token-spent' }
  /** The idempotency key belongs to another request; nothing was consumed now. */
  | { kind: 'key-reused'; tokenSpent: boolean }
  /** Another request with the idempotency key has been running for a while; nothing was consumed now. */
  | { kind: 'key-in-use' }

/** What a shared secret is for. */
export type SharedSecretName = 'dpop-nonce'

/**
 * The bank's books: accounts, transfers as two postings that sum to zero, spent tokens and idempotency records. The truth
 * about single use, since a token is consumed in the transaction that books. Knows no HTTP and no scopes.
 */
export interface Ledger {
  accountsOf(owner: Owner): Promise<Account[]>
  account(owner: Owner, accountId: string): Promise<Account | undefined>
  /** Newest first; `before` is the number of the last entry already seen. Undefined when the account is not the owner's. */
  entriesOf(
    owner: Owner,
    accountId: string,
    page: { limit: number; before: number | undefined },
  ): Promise<AccountEntry[] | undefined>
  /** A transfer whose debtor account is the owner's. */
  transfer(owner: Owner, transferId: string): Promise<Transfer | undefined>
  /**
   * Consumes the token and books the transfer, or declines it, in one durable transaction. Throws `LedgerUnavailable` when
   * certainly nothing was written and `OutcomeUnknown` when that cannot be said.
   */
  book(order: TransferOrder): Promise<BookingOutcome>
  /** Opens accounts whose IBAN is new and leaves the others alone. Returns how many were opened. */
  openAccounts(issuer: string, accounts: readonly OpeningAccount[]): Promise<number>
  /** Forgets spent tokens and idempotency records that are past their time, in one small batch. Returns how many. */
  prune(nowMs: number): Promise<number>
  /** 256 random bits, made once for each ledger, that all who share it know. Throws `LedgerUnavailable`. */
  sharedSecret(name: SharedSecretName): Promise<Uint8Array>
  /** Whether the ledger answers. */
  isReachable(): Promise<boolean>
  close(): Promise<void>
}

/** The ledger is out of reach or busy: certainly nothing was written. */
export class LedgerUnavailable extends Error {
  override readonly name = 'LedgerUnavailable'
}

/** The commit failed in a way that leaves open whether it took effect. */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown'
}

/** How long an idempotency record answers repeats. */
export const idempotencyRetentionMs = 86_400_000
