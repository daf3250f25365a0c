import { join } from 'node:path'
import Database from 'libsql'
import { Client } from 'pg'

/** What the books hold, for a test to compare with what clients were told. */
export interface Books {
  /** The id of each transfer, and what it was for: the remittance information, by which payments are told apart. */
  transfers: { id: string; payment: string | null }[]
  /** Minor units by IBAN. */
  balances: Record<string, bigint>
  spentTokens: number
}

/** What is told of a comparison: a test of tap, or anything that throws. */
export interface Comparison {
  strictSame: (found: unknown, wanted: unknown, what: string) => unknown
}

/** Each selects rows that must not be there. In words that both engines understand. */
const violations: Record<string, string> = {
  'transfers without two postings that sum to zero': `
    select transfers.id from transfers left join postings on postings.transfer_id = transfers.id
    group by transfers.id having count(postings.amount) <> 2 or sum(postings.amount) <> 0`,
  'postings without a transfer': `
    select postings.transfer_id from postings left join transfers on transfers.id = postings.transfer_id
    where transfers.id is null`,
  'accounts whose balance is not the opening balance and all postings, or negative': `
    select iban from accounts
    left join (select account_id, sum(amount) as moved, count(*) as entries, max(number) as latest
      from postings group by account_id) as history on history.account_id = accounts.id
    where balance <> opening_balance + coalesce(moved, 0) or balance < 0
      or last_entry <> coalesce(entries, 0) or last_entry <> coalesce(latest, 0)`,
  'currencies in which money was made or lost': `
    select currency from accounts group by currency having sum(balance) <> sum(opening_balance)`,
  'payments that were booked more than once': `
    select remittance_information from transfers where remittance_information is not null
    group by remittance_information having count(*) > 1`,
  'transfers that more than one idempotency record names': `
    select transfer_id from idempotency_records where transfer_id is not null group by transfer_id having count(*) > 1`,
  'more transfers than spent tokens': `
    select 'more' where (select count(*) from transfers) > (select count(*) from spent_tokens)`,
}

/**
 * Looks at the books behind the server's back and checks what must hold after any fault: every acknowledged transfer is there
 * once, no payment is there twice, and the money adds up. Tests give each payment a remittance information of its own.
 *
 * @param where a PostgreSQL URL, or the folder of a SQLite ledger
 */
export async function auditBank(t: Comparison, where: string, acknowledged: readonly string[] = []): Promise<Books> {
  const { select, close } = await openBooks(where)
  try {
    const found: Record<string, unknown[][]> = {}
    for (const [what, sql] of Object.entries(violations)) {
      const rows = await select(sql)
      if (rows.length > 0) found[what] = rows
    }
    t.strictSame(found, {}, 'the books agree')
    const transfers = (await select('select id, remittance_information from transfers')).map(([id, payment]) => ({
      id: String(id),
      payment: payment as string | null,
    }))
    const ids = new Set(transfers.map(({ id }) => id))
    t.strictSame(
      acknowledged.filter((id) => !ids.has(id)),
      [],
      'every acknowledged transfer is there',
    )
    const accounts = await select('select iban, cast(balance as text) from accounts')
    const [[spentTokens]] = (await select('select cast(count(*) as text) from spent_tokens')) as [[string]]
    return {
      transfers,
      balances: Object.fromEntries(accounts.map(([iban, balance]) => [iban, BigInt(String(balance))])),
      spentTokens: Number(spentTokens),
    }
  } finally {
    await close()
  }
}

interface OpenBooks {
  select: (sql: string) => Promise<unknown[][]>
  close: () => Promise<void>
}

async function openBooks(where: string): Promise<OpenBooks> {
  if (!/^postgres(?:ql)?:/.test(where)) {
    const database = new Database(join(where, 'ledger.sqlite'), { readonly: true })
    return {
      select: async (sql) => database.prepare(sql).raw().all() as unknown[][],
      close: async () => void database.close(),
    }
  }
  const client = new Client({ connectionString: where, options: '-c search_path=stepgate' })
  await client.connect()
  return {
    select: async (text) => (await client.query({ text, rowMode: 'array' })).rows,
    close: () => client.end(),
  }
}
