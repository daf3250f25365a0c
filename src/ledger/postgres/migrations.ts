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
  #variable_conflict use_column
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

    -- What follows is a statement of its own, because only that sees what others committed before the locks were taken.
    return query
    with o as materialized (
      select * from jsonb_to_recordset(orders) as o (
        number integer, issuer text, subject text, token_issuer text, jti text, token_until_ms bigint,
        key text, digest text, key_until_ms bigint, request_id text, now_ms bigint,
        transfer_id uuid, debtor_iban text, creditor_iban text, creditor_name text, currency text, amount text,
        amount_minor bigint, remittance text
      )
    ),
    stored as materialized (
      select o.number, o.digest, r.request_digest, r.decline_reason, r.request_id, r.transfer_id,
        exists (select from stepgate.spent_tokens t where t.issuer = o.token_issuer and t.jti = o.jti) as token_spent
      from o join stepgate.idempotency_records r
        on r.issuer = o.issuer and r.subject = o.subject and r.key = o.key and r.remember_until_ms > o.now_ms
    ),
    new as materialized (
      select o.*, debtor.id as debtor_id, creditor.id as creditor_id,
        debtor.balance as debtor_balance, creditor.balance as creditor_balance,
        case
          when debtor.id is null or creditor.id is null then 'not-found'
          when debtor.issuer <> o.issuer or debtor.subject <> o.subject then 'not-found'
          when debtor.id = creditor.id then 'same-account'
          when debtor.currency <> o.currency or creditor.currency <> o.currency then 'currency-mismatch'
        end as mismatch
      from o
      left join stepgate.accounts debtor on debtor.iban = o.debtor_iban
      left join stepgate.accounts creditor on creditor.iban = o.creditor_iban
      where o.number not in (select stored.number from stored)
    ),
    -- All that is decided here must not depend on who comes first. An order that brings a token or a key for the second time, or
    -- whose account may not have enough for the whole group, is left alone, unless it is the only one.
    judged as materialized (
      select *, count(*) over () > 1 and (
        row_number() over (partition by token_issuer, jti order by number) > 1
        or key is not null and row_number() over (partition by issuer, subject, key order by number) > 1
        or mismatch is null and debtor_balance < sum(amount_minor) over (partition by debtor_id, mismatch)
        or mismatch is null
          and creditor_balance + sum(amount_minor) over (partition by creditor_id, mismatch) > 999999999999999999
      ) as depends
      from new
    ),
    spent as (
      insert into stepgate.spent_tokens
      select token_issuer, jti, token_until_ms from judged where not depends
      order by token_issuer collate "C", jti collate "C"
      on conflict do nothing returning issuer, jti
    ),
    decided as materialized (
      select judged.*, case
        when mismatch is not null then mismatch
        when debtor_balance < amount_minor then 'insufficient-funds'
        when creditor_balance + amount_minor > 999999999999999999 then 'balance-limit'
      end as reason
      from judged join spent on spent.issuer = judged.token_issuer and spent.jti = judged.jti
      where not depends
    ),
    booked as (
      insert into stepgate.transfers
      select transfer_id, now_ms, debtor_id, creditor_id, creditor_name, currency, amount, remittance
      from decided where reason is null
    ),
    moves as materialized (
      select account.id, number, transfer_id, account.change,
        row_number() over (partition by account.id order by number) as step
      from decided, lateral (values (debtor_id, -amount_minor), (creditor_id, amount_minor)) as account (id, change)
      where reason is null
    ),
    posted as (
      insert into stepgate.postings
      select moves.id, accounts.last_entry + step, transfer_id, change
      from moves join stepgate.accounts on accounts.id = moves.id
    ),
    moved as (
      update stepgate.accounts set balance = balance + change, last_entry = last_entry + steps
      from (select moves.id, sum(change)::bigint as change, count(*) as steps from moves group by moves.id) as total
      where accounts.id = total.id
    ),
    recorded as (
      insert into stepgate.idempotency_records
      select issuer, subject, key, decode(digest, 'hex'), request_id, case when reason is null then transfer_id end, reason,
        key_until_ms
      from decided where key is not null
      on conflict (issuer, subject, key) do update set
        request_digest = excluded.request_digest, request_id = excluded.request_id, transfer_id = excluded.transfer_id,
        decline_reason = excluded.decline_reason, remember_until_ms = excluded.remember_until_ms
    )
    select number, case when request_digest = decode(digest, 'hex') then 'repeated' else 'key-reused' end, token_spent,
      decline_reason, request_id, transfer_id
    from stored
    union all
    select number, 'decided', true, reason, request_id, case when reason is null then transfer_id end from decided
    union all
    select number, case when depends then 'alone' else 'token-spent' end, true, null, request_id, null from judged
      where number not in (select decided.number from decided);
  end
  $$;
  `,
  `
  create table stepgate.shared_secrets (name text collate "C" primary key, secret bytea not null);
  -- Two random UUIDs have 244 random bits.
  insert into stepgate.shared_secrets
  values ('dpop-nonce', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
  `,
]
