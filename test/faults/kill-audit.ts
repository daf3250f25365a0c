import { ibans } from '../helpers/test-api.js'
import type { Bank } from './kill-bank.js'

/** What must be in the books of one transfer that a client meant to make and has an answer to. */
export interface Expectation {
  /** Its remittance information, which no other transfer has. */
  name: string
  debtor: 'alice' | 'bob'
  cents: number
  declined: boolean
  key: string | undefined
  /** The `jti` of all tokens that were sent for it; exactly one must be spent. */
  jwtIds: readonly string[]
  /** Ids of transfers that clients were told of. */
  acknowledged: ReadonlySet<string>
}

type Count = bigint | string

interface TransferRow {
  id: string
  name: string
  debtor: string
  cents: Count
}

/**
 * Compares the books with what clients were told. Every acknowledged transfer is there, each transfer exactly once or, when
 * it was declined, not at all, by one token, under one key. Returns what is wrong, in sentences. The names of the
 * expectations, their keys and their tokens all begin with the prefix.
 */
export async function auditTransfers(bank: Bank, prefix: string, expectations: readonly Expectation[]) {
  const like = `like '${prefix}%'`
  const [transfers, spent, records] = await Promise.all([
    bank.read<TransferRow>(
      `select t.id, t.remittance_information as name, a.iban as debtor, -p.amount as cents from books.transfers t
       join books.accounts a on a.id = t.debtor_account_id
       join books.postings p on p.transfer_id = t.id and p.account_id = t.debtor_account_id
       where t.remittance_information ${like}`,
    ),
    bank.read<{ jti: string }>(`select jti from books.spent_tokens where jti ${like}`),
    bank.read<{ key: string; subject: string; transfer_id: string | null }>(
      `select key, subject, transfer_id from books.idempotency_records where key ${like}`,
    ),
  ])
  const faults: string[] = []
  const expectEqual = (what: string, found: unknown, expected: unknown): void => {
    if (found !== expected) faults.push(`${what}: ${found} instead of ${expected}`)
  }
  const spentIds = new Set(spent.map(({ jti }) => jti))
  for (const { name, debtor, cents, declined, key, jwtIds, acknowledged } of expectations) {
    const booked = transfers.filter((transfer) => transfer.name === name)
    expectEqual(`${name} was booked`, booked.length, declined ? 0 : 1)
    expectEqual(`tokens spent for ${name}`, jwtIds.filter((jwtId) => spentIds.has(jwtId)).length, 1)
    for (const id of acknowledged) {
      if (!booked.some((transfer) => transfer.id === id)) faults.push(`${name} was acknowledged as ${id} and is lost`)
    }
    for (const row of booked) {
      expectEqual(`cents of ${name}`, Number(row.cents), cents)
      expectEqual(`debtor of ${name}`, row.debtor, ibans[debtor])
    }
    if (key === undefined) continue
    const own = records.filter((record) => record.key === key)
    expectEqual(`records of ${name}'s key`, own.length, 1)
    expectEqual(`transfer of ${name}'s key`, own[0]?.transfer_id ?? undefined, declined ? undefined : booked[0]?.id)
    expectEqual(`subject of ${name}'s key`, own[0]?.subject, debtor)
  }
  const names = new Set(expectations.map(({ name }) => name))
  for (const { name, id } of transfers)
    if (!names.has(name)) faults.push(`${id} was booked as ${name}, which nobody sent`)
  return faults
}

/** Checks that the books add up: two postings a transfer that sum to zero, and balances that follow from them. */
export async function auditBooks(bank: Bank): Promise<string[]> {
  const [unbalanced, accounts] = await Promise.all([
    bank.read<{ id: string }>(
      `select t.id from books.transfers t left join books.postings p on p.transfer_id = t.id
       group by t.id having count(p.number) <> 2 or sum(p.amount) <> 0`,
    ),
    bank.read<
      Record<'balance' | 'opening' | 'moved' | 'entries' | 'last_entry' | 'last_number', Count> & { iban: string }
    >(
      `select a.iban, a.balance, a.opening_balance as opening, a.last_entry, coalesce(sum(p.amount), 0) as moved,
       count(p.number) as entries, coalesce(max(p.number), 0) as last_number
       from books.accounts a left join books.postings p on p.account_id = a.id group by a.id`,
    ),
  ])
  return [
    ...unbalanced.map(({ id }) => `the postings of ${id} do not sum to zero`),
    ...(accounts.length === 2 ? [] : [`${accounts.length} accounts instead of 2`]),
    ...accounts.flatMap(({ iban, balance, opening, moved, entries, last_entry, last_number }) => [
      ...(BigInt(balance) < 0n ? [`${iban} is negative`] : []),
      ...(BigInt(balance) === BigInt(opening) + BigInt(moved) ? [] : [`${iban}: balance and postings differ`]),
      ...(BigInt(entries) === BigInt(last_entry) && BigInt(entries) === BigInt(last_number)
        ? []
        : [`${iban}: its postings are not numbered without gaps`]),
    ]),
  ]
}
