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

  -- A group of orders in one statement, and so in one round trip and one transaction, which all of them share. Answers a row
  -- for each, by its number. Locks are taken in one order (idempotency keys, accounts, tokens, each sorted), and accounts before
  -- the transfers that refer to them, so that no two groups wait for each other. SG001: an idempotency key is in use.
  create function stepgate.book_transfers_1(
    orders jsonb, lock_timeout_ms integer,
    out number integer, out outcome text, out token_spent boolean, out reason text, out decided_request_id text,
    out booked_id uuid
  ) returns setof record language plpgsql as $$
  declare
    known record;
    an_order record;
    debtor stepgate.accounts;
    creditor stepgate.accounts;
  begin
    if jsonb_path_exists(orders, '$[*].key') then
      begin
        perform set_config('lock_timeout', (lock_timeout_ms / 2)::text, true);
        perform pg_advisory_xact_lock(sorted.lock) from (
          select distinct hashtextextended(concat_ws(chr(31), o.issuer, o.subject, o.key), 0) as lock
          from jsonb_to_recordset(orders) as o (issuer text, subject text, key text)
          where o.key is not null order by 1
        ) sorted;
      exception when lock_not_available then
        raise exception 'an idempotency key is in use' using errcode = 'SG001';
      end;
    end if;
    perform set_config('lock_timeout', lock_timeout_ms::text, true);
    perform from stepgate.accounts where iban = any (array(
      select iban.value from jsonb_to_recordset(orders) as o (debtor_iban text, creditor_iban text),
        lateral (values (o.debtor_iban), (o.creditor_iban)) as iban (value)
    )) order by iban for no key update;

    for an_order in
      select * from jsonb_to_recordset(orders) as o (
        number integer, issuer text, subject text, token_issuer text, jti text, token_until_ms bigint,
        key text, digest text, key_until_ms bigint, request_id text, now_ms bigint,
        transfer_id uuid, debtor_iban text, creditor_iban text, creditor_name text, currency text, amount text,
        amount_minor bigint, remittance text
      ) order by o.token_issuer collate "C", o.jti collate "C"
    loop
      number := an_order.number;
      reason := null;
      booked_id := null;
      decided_request_id := an_order.request_id;

      if an_order.key is not null then
        select * into known from stepgate.idempotency_records r
          where r.issuer = an_order.issuer and r.subject = an_order.subject and r.key = an_order.key
            and r.remember_until_ms > an_order.now_ms;
        if found then
          outcome := case when known.request_digest = decode(an_order.digest, 'hex') then 'repeated' else 'key-reused' end;
          token_spent := exists (
            select from stepgate.spent_tokens t where t.issuer = an_order.token_issuer and t.jti = an_order.jti
          );
          reason := known.decline_reason;
          decided_request_id := known.request_id;
          booked_id := known.transfer_id;
          return next;
          continue;
        end if;
      end if;

      insert into stepgate.spent_tokens values (an_order.token_issuer, an_order.jti, an_order.token_until_ms)
        on conflict do nothing;
      token_spent := true;
      if not found then
        outcome := 'token-spent';
        return next;
        continue;
      end if;
      outcome := 'decided';

      select * into debtor from stepgate.accounts where iban = an_order.debtor_iban;
      select * into creditor from stepgate.accounts where iban = an_order.creditor_iban;
      reason := case
        when debtor.id is null or creditor.id is null then 'not-found'
        when debtor.issuer <> an_order.issuer or debtor.subject <> an_order.subject then 'not-found'
        when debtor.id = creditor.id then 'same-account'
        when debtor.currency <> an_order.currency or creditor.currency <> an_order.currency then 'currency-mismatch'
        when debtor.balance < an_order.amount_minor then 'insufficient-funds'
        when creditor.balance + an_order.amount_minor > 999999999999999999 then 'balance-limit'
      end;

      if reason is null then
        booked_id := an_order.transfer_id;
        insert into stepgate.transfers values (
          booked_id, an_order.now_ms, debtor.id, creditor.id, an_order.creditor_name, an_order.currency, an_order.amount,
          an_order.remittance
        );
        insert into stepgate.postings values
          (debtor.id, debtor.last_entry + 1, booked_id, -an_order.amount_minor),
          (creditor.id, creditor.last_entry + 1, booked_id, an_order.amount_minor);
        update stepgate.accounts
          set last_entry = last_entry + 1,
              balance = balance + case id when debtor.id then -an_order.amount_minor else an_order.amount_minor end
          where id in (debtor.id, creditor.id);
      end if;

      if an_order.key is not null then
        insert into stepgate.idempotency_records values (
          an_order.issuer, an_order.subject, an_order.key, decode(an_order.digest, 'hex'), an_order.request_id, booked_id,
          reason, an_order.key_until_ms
        ) on conflict (issuer, subject, key) do update set
          request_digest = excluded.request_digest, request_id = excluded.request_id,
          transfer_id = excluded.transfer_id, decline_reason = excluded.decline_reason,
          remember_until_ms = excluded.remember_until_ms;
      end if;
      return next;
    end loop;
  end
  $$;
  `,
]
