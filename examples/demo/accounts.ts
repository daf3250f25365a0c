import { z } from 'zod'
import type { BankClient } from './bank-client.js'
import { expectEqual, StoryDiffers } from './expectations.js'

/** An account as the story needs it. */
export interface Account {
  readonly iban: string
  readonly name: string
  readonly currency: string
  readonly balanceCents: bigint
}

const accountsSchema = z.object({
  accounts: z.array(
    z.object({
      iban: z.string(),
      name: z.string(),
      currency: z.string(),
      balance: z.object({ currency: z.string(), amount: z.string().regex(/^\d+\.\d{2}$/) }),
    }),
  ),
})

/** Reads the accounts with a token for reading. Throws StoryDiffers when the answer is no list of accounts. */
export async function readAccounts(bank: BankClient, accessToken: string): Promise<Account[]> {
  const answer = await bank.send({ method: 'GET', path: '/accounts', accessToken })
  expectEqual('the status of GET /accounts', answer.status, 200)
  const body = accountsSchema.safeParse(answer.body)
  if (!body.success)
    throw new StoryDiffers(`GET /accounts answered with something else: ${z.prettifyError(body.error)}`)
  return body.data.accounts.map(({ iban, name, currency, balance }) => ({
    iban,
    name,
    currency,
    balanceCents: BigInt(balance.amount.replace('.', '')),
  }))
}

/** The richer account pays the other one, so that the story can be told again and again. */
export function choosePayment(
  accounts: readonly Account[],
  amountCents: bigint,
): { debtor: Account; creditor: Account } {
  const inEuro = accounts.filter(({ currency }) => currency === 'EUR')
  const [debtor, creditor] = inEuro.toSorted((a, b) => Number(b.balanceCents - a.balanceCents))
  if (debtor === undefined || creditor === undefined)
    throw new StoryDiffers('the user has no two accounts in EUR: is this data of another issuer?')
  if (debtor.balanceCents < amountCents) {
    const most = `${formatCents(debtor.balanceCents)} EUR`
    throw new StoryDiffers(
      `no account holds ${formatCents(amountCents)} EUR (the richest has ${most}): start with fresh data`,
    )
  }
  return { debtor, creditor }
}

/** "25.00" for 2500n. */
export function formatCents(cents: bigint): string {
  const digits = String(cents).padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}
