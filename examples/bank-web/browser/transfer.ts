import type { Money } from './money.js'

/** A transfer as the API takes it: the body of `POST /transfers`. */
export interface TransferOrder {
  readonly debtorAccount: { readonly iban: string }
  readonly creditorAccount: { readonly iban: string }
  readonly creditorName?: string
  readonly instructedAmount: Money
  readonly remittanceInformationUnstructured?: string
}

/** The fields of the form. */
export type FieldName = 'debtor' | 'creditor' | 'creditorName' | 'amount' | 'reference'

/** A text for some of the fields: what was typed there, or what is wrong with it. */
export type TypedTransfer = Readonly<Partial<Record<FieldName, string>>>

/** A booked transfer: the order, with what the bank adds. */
export interface Booking extends TransferOrder {
  readonly transferId: string
  readonly bookedAt: string
  /** It had been booked before, and this is what the API remembered under the Idempotency-Key. */
  readonly replayed: boolean
}
