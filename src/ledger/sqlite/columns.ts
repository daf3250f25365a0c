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
