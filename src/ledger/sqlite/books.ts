import type { Transfer, TransferOrder } from '../ledger.js'
import type { Connection } from './connection.js'

/** An account as it stands after the orders of the group that were decided so far. */
export interface AccountState {
  id: string
  issuer: string
  subject: string
  currency: string
  balance: bigint
  /** Number of its newest posting. */
  lastEntry: number
}

/** What a group of orders reads and writes. It is read once, before the first decision, and written once, after the last. */
export interface Books {
  /** The accounts that the orders name, by IBAN. */
  accounts: ReadonlyMap<string, AccountState>
  /** Those of the orders' tokens that are spent, by `tokenKey`. */
  spentTokens: Set<string>
  /** What is to be written. */
  newTokens: TransferOrder['token'][]
  newTransfers: { transfer: Transfer; debtor: AccountState; creditor: AccountState }[]
  newPostings: { account: AccountState; number: number; transferId: string; amountMinorUnits: bigint }[]
}

type AccountColumns = [iban: string, id: string, issuer: string, subject: string, currency: string, ...Sums]
type Sums = [balance: string, lastEntry: number]

/** Tells one token from another. */
export function tokenKey({ issuer, jwtId }: TransferOrder['token']): string {
  return JSON.stringify([issuer, jwtId])
}

/**
 * The statements that read and write books, prepared once. Each takes or gives a whole list as JSON, because a call into the
 * database costs more than most of what it does. Balances and amounts travel as text: JSON's numbers are not exact.
 */
export function prepareBooks(connection: Connection) {
  // The cross join has SQLite look up each IBAN, whatever it thinks of the sizes of the tables.
  const findAccounts = connection
    .prepare(
      `select json_group_array(json_array(iban, accounts.id, issuer, subject, currency, cast(balance as text), last_entry))
       from json_each(?) cross join accounts on iban = value`,
    )
    .raw()
  const findSpent = connection
    .prepare(
      `select json_group_array(key) from json_each(?)
       where exists (select 1 from spent_tokens where issuer = value ->> 0 and jti = value ->> 1)`,
    )
    .raw()
  const putTokens = connection.prepare(
    'insert into spent_tokens select value ->> 0, value ->> 1, value ->> 2 from json_each(?)',
  )
  const putTransfers = connection.prepare(
    `insert into transfers select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
     value ->> 6, value ->> 7 from json_each(?)`,
  )
  const putPostings = connection.prepare(
    'insert into postings select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?)',
  )
  const putBalances = connection.prepare(
    `update accounts set balance = value ->> 1, last_entry = value ->> 2 from json_each(?) where accounts.id = value ->> 0`,
  )

  function open(orders: readonly TransferOrder[]): Books {
    const ibans = new Set(orders.flatMap(({ instruction }) => [instruction.debtorIban, instruction.creditorIban]))
    const accounts = askList<AccountColumns>(findAccounts, [...ibans])
    const tokens = orders.map(({ token }) => token)
    const spent = askList<number>(
      findSpent,
      tokens.map(({ issuer, jwtId }) => [issuer, jwtId]),
    )
    return {
      accounts: new Map(accounts.map((columns) => [columns[0], toAccountState(columns)])),
      spentTokens: new Set(spent.map((index) => tokenKey(tokens[index] as TransferOrder['token']))),
      newTokens: [],
      newTransfers: [],
      newPostings: [],
    }
  }

  function save({ newTokens, newTransfers, newPostings }: Books): void {
    const moved = new Set(newPostings.map(({ account }) => account))
    tellList(
      putTokens,
      newTokens.map(({ issuer, jwtId, rememberUntilMs }) => [issuer, jwtId, rememberUntilMs]),
    )
    tellList(
      putTransfers,
      newTransfers.map(({ transfer, debtor, creditor }) => [
        transfer.id,
        transfer.bookedAtMs,
        debtor.id,
        creditor.id,
        transfer.creditorName ?? null,
        transfer.currency,
        transfer.amount,
        transfer.remittanceInformation ?? null,
      ]),
    )
    tellList(
      putPostings,
      newPostings.map(({ account, number, transferId, amountMinorUnits }) => {
        return [account.id, number, transferId, amountMinorUnits.toString()]
      }),
    )
    tellList(
      putBalances,
      [...moved].map(({ id, balance, lastEntry }) => [id, balance.toString(), lastEntry]),
    )
  }

  return { open, save }
}

type Statement = ReturnType<Connection['prepare']>

function askList<Row>(statement: Statement, list: readonly unknown[]): Row[] {
  const [rows] = statement.get(JSON.stringify(list)) as [string]
  return JSON.parse(rows)
}

function tellList(statement: Statement, rows: readonly unknown[]): void {
  if (rows.length > 0) statement.run(JSON.stringify(rows))
}

function toAccountState([, id, issuer, subject, currency, balance, lastEntry]: AccountColumns): AccountState {
  return { id, issuer, subject, currency, balance: BigInt(balance), lastEntry }
}
