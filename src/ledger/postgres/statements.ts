/** The statements beside the one that books, which `booking.ts` has. Their rows are those of `../rows.ts`. */

export const accountsOfSql = `
  select id, iban, name, currency, balance from stepgate.accounts where issuer = $1 and subject = $2 order by iban`

export const accountSql = `
  select id, iban, name, currency, balance from stepgate.accounts where id = $1 and issuer = $2 and subject = $3`

export const entriesOfSql = `
  select p.number, p.transfer_id, t.booked_at_ms, counterparty.iban as counterparty_iban, t.currency, p.amount,
    t.remittance_information
  from stepgate.postings p
  join stepgate.transfers t on t.id = p.transfer_id
  join stepgate.accounts counterparty on counterparty.id =
    case t.debtor_account_id when p.account_id then t.creditor_account_id else t.debtor_account_id end
  where p.account_id = $1 and p.number < $2 order by p.number desc limit $3`

export const transferSql = `
  select t.id, t.booked_at_ms, debtor.iban as debtor_iban, creditor.iban as creditor_iban, t.creditor_name, t.currency,
    t.amount, t.remittance_information
  from stepgate.transfers t
  join stepgate.accounts debtor on debtor.id = t.debtor_account_id
  join stepgate.accounts creditor on creditor.id = t.creditor_account_id
  where t.id = $1 and debtor.issuer = $2 and debtor.subject = $3`

export const openAccountsSql = `
  insert into stepgate.accounts (id, issuer, subject, iban, name, currency, opening_balance, balance)
  select id, $1, subject, iban, name, currency, balance, balance
  from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
    as opening (id, subject, iban, name, currency, balance)
  on conflict (iban) do nothing`

export const sharedSecretSql = 'select secret from stepgate.shared_secrets where name = $1'

const pruneBatchSize = 500

/** Forgets one batch of what is past its time. What another replica is forgetting is skipped, so that none waits for another. */
export function pruneSql(table: 'spent_tokens' | 'idempotency_records'): string {
  return `
    delete from stepgate.${table} where ctid = any (array(
      select ctid from stepgate.${table} where remember_until_ms <= $1
      order by remember_until_ms limit ${pruneBatchSize} for update skip locked))`
}
