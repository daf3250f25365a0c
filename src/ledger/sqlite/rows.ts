import type { Account, AccountEntry, Transfer } from '../ledger.js'

/** Columns of the accounts table that make an `Account`. */
export const accountColumns = 'id, iban, name, currency, balance from accounts'

/** Columns and joins that make a `Transfer`. */
export const transferColumns = `
  transfers.id, booked_at_ms, debtor.iban as debtor_iban, creditor.iban as creditor_iban, creditor_name,
  transfers.currency, amount, remittance_information
  from transfers
  join accounts as debtor on debtor.id = debtor_account_id
  join accounts as creditor on creditor.id = creditor_account_id`

/** Columns and joins that make an `AccountEntry`. */
export const entryColumns = `
  postings.number, postings.transfer_id, transfers.booked_at_ms, counterparty.iban as counterparty_iban,
  transfers.currency, postings.amount, transfers.remittance_information
  from postings
  join transfers on transfers.id = postings.transfer_id
  join accounts as counterparty on counterparty.id =
    iif(transfers.debtor_account_id = postings.account_id, transfers.creditor_account_id, transfers.debtor_account_id)`

export interface AccountRow {
  id: string
  iban: string
  name: string
  currency: string
  balance: bigint
}

export function toAccount({ id, iban, name, currency, balance }: AccountRow): Account {
  return { id, iban, name, currency, balanceMinorUnits: balance }
}

export interface TransferRow {
  id: string
  booked_at_ms: bigint
  debtor_iban: string
  creditor_iban: string
  creditor_name: string | null
  currency: string
  amount: string
  remittance_information: string | null
}

export function toTransfer(row: TransferRow): Transfer {
  return {
    id: row.id,
    bookedAtMs: Number(row.booked_at_ms),
    debtorIban: row.debtor_iban,
    creditorIban: row.creditor_iban,
    creditorName: row.creditor_name ?? undefined,
    currency: row.currency,
    amount: row.amount,
    remittanceInformation: row.remittance_information ?? undefined,
  }
}

export interface EntryRow {
  number: bigint
  transfer_id: string
  booked_at_ms: bigint
  counterparty_iban: string
  currency: string
  amount: bigint
  remittance_information: string | null
}

export function toEntry(row: EntryRow): AccountEntry {
  return {
    number: Number(row.number),
    transferId: row.transfer_id,
    bookedAtMs: Number(row.booked_at_ms),
    counterpartyIban: row.counterparty_iban,
    currency: row.currency,
    amountMinorUnits: row.amount,
    remittanceInformation: row.remittance_information ?? undefined,
  }
}
