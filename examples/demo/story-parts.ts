import { randomUUID } from 'node:crypto'
import { type Account, formatCents } from './accounts.js'
import { type Answer, type BankClient, digestOf, type Grant } from './bank-client.js'
import type { Person } from './person.js'

/** Where the story plays, and who is in it. */
export interface StoryOptions {
  readonly apiUrl: string
  readonly issuer: string
  /** Needs two accounts in EUR. */
  readonly person: Person
  /** What the API is configured to ask for in a step-up. */
  readonly stepUp: { readonly acrValues: string; readonly maxAgeSeconds: number }
}

export const amountCents = 2500n

/** The body of a transfer. With a type, it is the authorization details for it as well. */
export function describePayment(debtor: Account, creditor: Account, cents: bigint) {
  return {
    debtorAccount: { iban: debtor.iban },
    creditorAccount: { iban: creditor.iban },
    instructedAmount: { currency: 'EUR', amount: formatCents(cents) },
    remittanceInformationUnstructured: 'The story of a step-up',
  }
}

/** A key of its own for each, since a repeated key would be answered from memory instead of being judged. */
export function postTransfer(bank: BankClient, accessToken: string, body: unknown): Promise<Answer> {
  const headers = { 'Idempotency-Key': randomUUID() }
  return bank.send({ method: 'POST', path: '/transfers', accessToken, body, headers })
}

export function describeGrant({ accessToken, scope, lifetimeSeconds, idToken, questions }: Grant): string {
  const level = idToken?.['authentication_level']
  return `asked for: ${questions.join(', ')}; token ${digestOf(accessToken)}: ${scope}, ${lifetimeSeconds} s, level ${level}`
}

export function describeAccounts(accounts: readonly Account[]): string {
  return accounts
    .map(({ name, balanceCents, currency }) => `${name}: ${formatCents(balanceCents)} ${currency}`)
    .join('; ')
}

export function describeRefusal({ status, headers }: Answer): string {
  return `${status}, WWW-Authenticate: ${headers.get('www-authenticate')}`
}
