import type { Account, AccountEntry, Transfer } from './ledger.js'

/** Rows as both engines give them, with integers of 64 bits as bigint. */
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
