/**
 * Applied in order, once each; the table `stepgate.migrations` holds which have been. Never edit one that was released. Each
 * must leave what older versions of this program read and call working, since they still run while it is applied: add tables,
 * columns with a default and functions with a new number, and drop nothing that the version before uses.
 */
export const migrations: readonly string[] = [
  `
  create table stepgate.accounts (
    id uuid primary key,
    issuer text collate "C" not null,
    subject text collate "C" not null,
    iban text collate "C" not null unique,
    name text not null,
    currency text collate "C" not null,
    opening_balance bigint not null,
    balance bigint not null check (balance between 0 and 999999999999999999),
    last_entry bigint not null default 0
  -- Room on each page for the next version of a row, so that a new balance touches no index.
  ) with (fillfactor = 50);
  create index accounts_by_owner on stepgate.accounts (issuer, subject, iban);

  create table stepgate.transfers (
    id uuid primary key,
    booked_at_ms bigint not null,
    debtor_account_id uuid not null references stepgate.accounts (id),
    creditor_account_id uuid not null references stepgate.accounts (id),
    creditor_name text,
    currency text collate "C" not null,
    amount text collate "C" not null,
    remittance_information text
  );

  -- Two rows a transfer, which sum to zero. No foreign keys: both columns come from the row of transfers written beside them.
  create table stepgate.postings (
    account_id uuid not null,
    number bigint not null,
    transfer_id uuid not null,
    amount bigint not null check (amount <> 0),
    primary key (account_id, number)
  );

  create table stepgate.spent_tokens (
    issuer text collate "C" not null,
    jti text collate "C" not null,
    remember_until_ms bigint not null,
    primary key (issuer, jti)
  );
  create index spent_tokens_by_time on stepgate.spent_tokens (remember_until_ms);

  create table stepgate.idempotency_records (
    issuer text collate "C" not null,
    subject text collate "C" not null,
    key text collate "C" not null,
    request_digest bytea not null,
    request_id text collate "C" not null,
    transfer_id uuid references stepgate.transfers (id),
    decline_reason text collate "C",
    remember_until_ms bigint not null,
    primary key (issuer, subject, key),
    check ((transfer_id is null) <> (decline_reason is null))
  );
  create index idempotency_records_by_time on stepgate.idempotency_records (remember_until_ms);

  -- One order, whole, in one statement and so in one round trip and one transaction. Locks are always taken in one order
  -- (idempotency key, token, accounts by IBAN), and accounts before the transfer that refers to them, so that no two orders
  -- wait for each other.
  create function stepgate.book_transfer_1(
    an_issuer text, a_subject text, a_token_issuer text, a_jti text, token_until_ms bigint,
    a_key text, a_digest bytea, key_until_ms bigint, a_request_id text, now_ms bigint,
    new_transfer_id uuid, debtor_iban text, creditor_iban text, a_creditor_name text, a_currency text, an_amount text,
    amount_minor bigint, remittance text,
    out outcome text, out token_spent boolean, out reason text, out decided_request_id text, out booked_id uuid
  ) language plpgsql as $$
  declare
    known record;
    an_account stepgate.accounts;
    debtor stepgate.accounts;
    creditor stepgate.accounts;
  begin
    if a_key is not null then
      begin
        perform set_config('lock_timeout', '500ms', true);
        perform pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), an_issuer, a_subject, a_key), 0));
      exception when lock_not_available then
        outcome := 'key-in-use';
        return;
      end;
      perform set_config('lock_timeout', '1s', true);
      select * into known from stepgate.idempotency_records r
        where r.issuer = an_issuer and r.subject = a_subject and r.key = a_key and r.remember_until_ms > now_ms;
      if found then
        token_spent := exists (select from stepgate.spent_tokens s where s.issuer = a_token_issuer and s.jti = a_jti);
        outcome := case when known.request_digest = a_digest then 'repeated' else 'key-reused' end;
        reason := known.decline_reason;
        decided_request_id := known.request_id;
        booked_id := known.transfer_id;
        return;
      end if;
    end if;

    insert into stepgate.spent_tokens values (a_token_issuer, a_jti, token_until_ms) on conflict do nothing;
    if not found then
      outcome := 'token-spent';
      return;
    end if;
    outcome := 'decided';
    token_spent := true;
    decided_request_id := a_request_id;

    for an_account in
      select * from stepgate.accounts where iban in (debtor_iban, creditor_iban) order by iban for no key update
    loop
      if an_account.iban = debtor_iban then debtor := an_account; end if;
      if an_account.iban = creditor_iban then creditor := an_account; end if;
    end loop;

    reason := case
      when debtor.id is null or creditor.id is null then 'not-found'
      when debtor.issuer <> an_issuer or debtor.subject <> a_subject then 'not-found'
      when debtor.id = creditor.id then 'same-account'
      when debtor.currency <> a_currency or creditor.currency <> a_currency then 'currency-mismatch'
      when debtor.balance < amount_minor then 'insufficient-funds'
      when creditor.balance + amount_minor > 999999999999999999 then 'balance-limit'
    end;

    if reason is null then
      booked_id := new_transfer_id;
      insert into stepgate.transfers values
        (booked_id, now_ms, debtor.id, creditor.id, a_creditor_name, a_currency, an_amount, remittance);
      insert into stepgate.postings values
        (debtor.id, debtor.last_entry + 1, booked_id, -amount_minor),
        (creditor.id, creditor.last_entry + 1, booked_id, amount_minor);
      update stepgate.accounts
        set last_entry = last_entry + 1,
            balance = balance + case id when debtor.id then -amount_minor else amount_minor end
        where id in (debtor.id, creditor.id);
    end if;

    if a_key is not null then
      insert into stepgate.idempotency_records as r values
        (an_issuer, a_subject, a_key, a_digest, a_request_id, booked_id, reason, key_until_ms)
        on conflict (issuer, subject, key) do update set
          request_digest = excluded.request_digest, request_id = excluded.request_id,
          transfer_id = excluded.transfer_id, decline_reason = excluded.decline_reason,
          remember_until_ms = excluded.remember_until_ms;
    end if;
  end
  $$;
  `,
]
