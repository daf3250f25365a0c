import { currencyDigits } from '#src/core/currencies.js'
import { formatAmount } from '#src/core/money.js'
import type { Owner } from '#src/ledger/ledger.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'

/**
 * The account query of stepgate, by its own ledger, for every candidate that answers GET /accounts from a database: so that
 * they differ in what they do about the token and in nothing else.
 */
export async function openAccountQuery(dataFolder: string): Promise<(owner: Owner) => Promise<object>> {
  const ledger = await SqliteLedger.open(dataFolder)
  return async (owner) => {
    const accounts = await ledger.accountsOf(owner)
    return {
      accounts: accounts.map(({ id, iban, name, currency, balanceMinorUnits }) => {
        const amount = formatAmount(balanceMinorUnits, currencyDigits(currency) as number)
        return { resourceId: id, iban, name, currency, balance: { currency, amount } }
      }),
    }
  }
}
