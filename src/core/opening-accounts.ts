import { z } from 'zod'
import { currencyDigits } from './currencies.js'
import { isIban } from './iban.js'
import { parseAmount } from './money.js'

/** An account to open when the ledger does not have its IBAN yet. */
export interface OpeningAccount {
  /** `sub` of the owner at the configured issuer. */
  subject: string
  iban: string
  name: string
  currency: string
  balanceMinorUnits: bigint
}

const text = (maxLength: number) =>
  z
    .string({ error: `expected 1 to ${maxLength} characters` })
    .min(1)
    .max(maxLength)

const accountSchema = z
  .strictObject({
    owner: text(255),
    iban: z.string({ error: 'expected an IBAN' }).refine(isIban, 'expected an IBAN in upper case, without spaces'),
    name: text(140),
    currency: z
      .string({ error: 'expected a currency code' })
      .refine((code) => currencyDigits(code) !== undefined, 'expected an ISO 4217 currency code'),
    balance: z.string({ error: 'expected a decimal string' }),
  })
  .transform((account, context): OpeningAccount => {
    const balanceMinorUnits = parseAmount(account.balance, currencyDigits(account.currency) as number)
    if (balanceMinorUnits === undefined) {
      const message = `expected a decimal string with the digits of ${account.currency}, such as "1200.50"`
      context.addIssue({ code: 'custom', path: ['balance'], message })
    }
    const { owner, iban, name, currency } = account
    return { subject: owner, iban, name, currency, balanceMinorUnits: balanceMinorUnits ?? 0n }
  })

const accountsSchema = z.array(accountSchema, { error: 'expected an array of accounts' })

/** Parses the text of an accounts file (architecture: `ACCOUNTS_FILE`). Every fault is named by its place. */
export function parseOpeningAccounts(json: string): { accounts: readonly OpeningAccount[] } | { faults: string[] } {
  let document: unknown
  try {
    document = JSON.parse(json)
  } catch {
    return { faults: ['expected JSON'] }
  }
  const result = accountsSchema.safeParse(document)
  const faults = result.success ? [] : result.error.issues.map(describeIssue)
  faults.push(...findRepeatedIbans(document))
  return result.success && faults.length === 0 ? { accounts: result.data } : { faults }
}

function describeIssue({ path, message }: z.core.$ZodIssue): string {
  const place = path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')
  return place === '' ? message : `${place}: ${message}`
}

/** Looks at the document as it is, since the schema does not compare accounts when one of them has another fault. */
function findRepeatedIbans(document: unknown): string[] {
  const ibans = Array.isArray(document) ? document.map((account) => account?.iban) : []
  return ibans.flatMap((iban, index) =>
    typeof iban === 'string' && ibans.indexOf(iban) < index ? [`[${index}].iban: the IBAN stands twice`] : [],
  )
}
