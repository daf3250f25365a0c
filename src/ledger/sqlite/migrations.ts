/** Applied in order, once each, inside one transaction; `user_version` holds how many have been. Never edit one that was released. */
export const migrations: readonly string[] = [
  `
  create table accounts (
    id text primary key,
    issuer text not null,
    subject text not null,
    iban text not null unique,
    name text not null,
    currency text not null,
    opening_balance integer not null,
    balance integer not null check (balance between 0 and 999999999999999999),
    last_entry integer not null default 0
  ) strict;
  create index accounts_by_owner on accounts (issuer, subject, iban);

  create table transfers (
    id text primary key,
    booked_at_ms integer not null,
    debtor_account_id text not null references accounts (id),
    creditor_account_id text not null references accounts (id),
    creditor_name text,
    currency text not null,
    amount text not null,
    remittance_information text
  ) strict, without rowid;

  -- Two rows a transfer, which sum to zero. Clustered by account, so that a page of its history is one range.
  create table postings (
    account_id text not null references accounts (id),
    number integer not null,
    transfer_id text not null references transfers (id),
    amount integer not null check (amount <> 0),
    primary key (account_id, number)
  ) strict, without rowid;

  create table spent_tokens (
    issuer text not null,
    jti text not null,
    remember_until_ms integer not null,
    primary key (issuer, jti)
  ) strict, without rowid;
  create index spent_tokens_by_time on spent_tokens (remember_until_ms);

  create table idempotency_records (
    issuer text not null,
    subject text not null,
    key text not null,
    request_digest blob not null,
    request_id text not null,
    transfer_id text references transfers (id),
    decline_reason text,
    remember_until_ms integer not null,
    primary key (issuer, subject, key),
    check ((transfer_id is null) <> (decline_reason is null))
  ) strict, without rowid;
  create index idempotency_records_by_time on idempotency_records (remember_until_ms);
  `,
  `
  create table shared_secrets (name text primary key, secret blob not null) strict, without rowid;
  insert into shared_secrets values ('dpop-nonce', randomblob(32));
  `,
]
