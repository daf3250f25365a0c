import { randomUUID } from 'node:crypto'
import type {
  AccountEntry,
  BookingOutcome,
  Ledger,
  Owner,
  TransferInstruction,
  TransferOrder,
} from '#src/ledger/ledger.js'

export const issuer = 'https://issuer.example'
export const nowMs = 1_700_000_000_000
export const ibans = {
  alice: 'DE89370400440532013000',
  savings: 'DE02120300000000202051',
  bob: 'GB33BUKB20201555555555',
  yen: 'FR1420041010050500013M02606',
  unknown: 'DE75512108001245126199',
}
export const alice: Owner = { issuer, subject: 'alice' }
export const bob: Owner = { issuer, subject: 'bob' }
export const stranger: Owner = { issuer: 'https://other.example', subject: 'alice' }
export const dayMs = 86_400_000

export const opening = (subject: string, iban: string, balanceMinorUnits: bigint, currency = 'EUR') => {
  return { subject, iban, name: `${subject}’s`, currency, balanceMinorUnits }
}
export const openings = [
  opening('alice', ibans.alice, 10_000n),
  opening('alice', ibans.savings, 5000n),
  opening('bob', ibans.bob, 2000n),
  opening('alice', ibans.yen, 3000n, 'JPY'),
]

export interface OrderChanges extends Partial<Omit<TransferOrder, 'instruction' | 'token'>> {
  instruction?: Partial<TransferInstruction>
  token?: Partial<TransferOrder['token']>
}

/** An order of 25.00 EUR from alice to bob with a token of its own, with changes. */
export function makeOrder({ instruction, token, ...changes }: OrderChanges = {}): TransferOrder {
  const amountMinorUnits = instruction?.amountMinorUnits ?? 2500n
  return {
    owner: alice,
    instruction: {
      debtorIban: ibans.alice,
      creditorIban: ibans.bob,
      creditorName: undefined,
      currency: 'EUR',
      amount: `${amountMinorUnits / 100n}.${(amountMinorUnits % 100n).toString().padStart(2, '0')}`,
      amountMinorUnits,
      remittanceInformation: undefined,
      ...instruction,
    },
    token: { issuer, jwtId: randomUUID(), rememberUntilMs: nowMs + 1000, ...token },
    idempotency: undefined,
    requestId: randomUUID(),
    nowMs,
    ...changes,
  }
}

export async function balancesOf(ledger: Ledger): Promise<Record<string, bigint>> {
  const accounts = [...(await ledger.accountsOf(alice)), ...(await ledger.accountsOf(bob))]
  return Object.fromEntries(accounts.map(({ iban, balanceMinorUnits }) => [iban, balanceMinorUnits]))
}

/** Every entry of an account, newest first, read page by page. */
export async function entriesOf(ledger: Ledger, owner: Owner, iban: string): Promise<AccountEntry[]> {
  const account = (await ledger.accountsOf(owner)).find((one) => one.iban === iban)
  const entries: AccountEntry[] = []
  for (;;) {
    const page = await ledger.entriesOf(owner, account?.id as string, { limit: 7, before: entries.at(-1)?.number })
    if (page === undefined || page.length === 0) return entries
    entries.push(...page)
  }
}

export const transferIdOf = (outcome: BookingOutcome): string | undefined =>
  outcome.kind === 'decided' && outcome.decision.kind === 'booked' ? outcome.decision.transfer.id : undefined
export const digest = (text: string) => ({ requestDigest: Buffer.from(text.padEnd(32)) })
export const spentNow = { kind: 'decided', repeated: false, tokenSpent: true }
