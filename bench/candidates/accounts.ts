import { join } from 'node:path'
import Database from 'libsql'
import { currencyDigits } from '#src/core/currencies.js'
import { formatAmount } from '#src/core/money.js'
import type { Account, Owner } from '#src/ledger/ledger.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'

/**
 * The account query of stepgate, by its own ledger, for every candidate that answers GET /accounts from a database: so that
 * they differ in what they do about the token and in nothing else.
 */
export async function openAccountQuery(dataFolder: string): Promise<(owner: Owner) => Promise<object>> {
  const ledger = await SqliteLedger.open(dataFolder)
  return async (owner) => toBody(await ledger.accountsOf(owner))
}

/** The same query as an app would write it through libsql: a prepared statement that is run for each request. */
export function openSingleAccountQuery(dataFolder: string): (owner: Owner) => Promise<object> {
  const statement = new Database(join(dataFolder, 'ledger.sqlite')).defaultSafeIntegers(true).prepare(
    `select id, iban, name, currency, balance as balanceMinorUnits from accounts
       where issuer = ? and subject = ? order by iban`,
  )
  return async ({ issuer, subject }) => toBody(statement.all(issuer, subject) as Account[])
}

function toBody(accounts: readonly Account[]): object {
  return {
    accounts: accounts.map(({ id, iban, name, currency, balanceMinorUnits }) => {
      const amount = formatAmount(balanceMinorUnits, currencyDigits(currency) as number)
      return { resourceId: id, iban, name, currency, balance: { currency, amount } }
    }),
  }
}
