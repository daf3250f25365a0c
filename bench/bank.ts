import { randomInt } from 'node:crypto'
import type { Issuer } from './mint.js'

const openingCents = 100_000_000n

/**
 * A bank for measurements: many accounts, each of an owner of its own, whose IBANs are new in every run, so that it fits
 * beside others in a shared database. Knows what must be in its books after the transfers that were acknowledged.
 */
export class Bank {
  readonly #accounts: { owner: string; iban: string }[]
  readonly #entries: number[]
  readonly #cents: bigint[]
  readonly #issuer: Issuer
  #ordered = 0

  constructor(issuer: Issuer, accountCount: number) {
    const run = String(randomInt(1e8)).padStart(8, '0')
    this.#issuer = issuer
    this.#accounts = Array.from({ length: accountCount }, (_, index) => {
      return { owner: `owner-${index}`, iban: makeIban(`${run}${String(index).padStart(10, '0')}`) }
    })
    this.#entries = this.#accounts.map(() => 0)
    this.#cents = this.#accounts.map(() => openingCents)
  }

  /** The text of an accounts file. */
  get accountsFile(): string {
    const balance = `${openingCents / 100n}.00`
    return JSON.stringify(this.#accounts.map((account) => ({ ...account, name: 'Bench', currency: 'EUR', balance })))
  }

  /** What GET /accounts must answer an owner before any transfer, but for `resourceId`, which the ledger chooses. */
  openingAnswer(owner: string): { accounts: object[] } {
    const own = this.#accounts.filter((account) => account.owner === owner)
    const balance = { currency: 'EUR', amount: `${openingCents / 100n}.00` }
    return { accounts: own.map(({ iban }) => ({ iban, name: 'Bench', currency: 'EUR', balance })) }
  }

  /** Transfers of one cent between changing accounts, each with a fresh token. They count as booked from now on. */
  async order(
    audience: string,
    count: number,
    { scope = 'read:accounts transfer:funds', claims = {} } = {},
  ): Promise<Buffer[]> {
    const pairs = Array.from({ length: count }, () => this.#nextPair())
    const owners = pairs.map(({ debtor }) => this.#accounts[debtor]?.owner as string)
    const tokens = await this.#issuer.mint(audience, owners, scope, claims)
    const iban = (account: number) => this.#accounts[account]?.iban as string
    return pairs.map(({ debtor, creditor }, index) =>
      orderTransfer(tokens[index] as string, iban(debtor), iban(creditor)),
    )
  }

  /** Reads every account over HTTP and throws unless balance and number of postings are what was ordered. Returns the transfers. */
  async check(url: string, audience: string): Promise<number> {
    const owners = this.#accounts.map(({ owner }) => owner)
    const tokens = await this.#issuer.mint(audience, owners, 'read:accounts')
    let postings = 0
    let cents = 0n
    for (const [index, token] of tokens.entries()) {
      const { accounts } = (await get(`${url}/accounts`, token)) as {
        accounts: { resourceId: string; balance: { amount: string } }[]
      }
      const [account] = accounts
      // The newest entry's number is the number of entries, and a cursor when there are more than one.
      const page = (await get(`${url}/accounts/${account?.resourceId}/transactions?limit=1`, token)) as {
        transactions: unknown[]
        nextCursor?: string
      }
      const entries = Number(page.nextCursor ?? page.transactions.length)
      const balance = BigInt(String(account?.balance.amount).replace('.', ''))
      if (entries !== this.#entries[index] || balance !== this.#cents[index]) {
        throw new Error(`account ${index} has ${entries} entries and ${balance} cents, unlike what was acknowledged`)
      }
      postings += entries
      cents += balance
    }
    if (cents !== openingCents * BigInt(tokens.length)) throw new Error('the postings do not sum to zero')
    return postings / 2
  }

  #nextPair(): { debtor: number; creditor: number } {
    const { length } = this.#accounts
    const debtor = this.#ordered % length
    // A step that changes each time around, and is never 0, so that pairs do not repeat soon.
    const creditor = (debtor + 1 + (Math.floor(this.#ordered / length) % (length - 1))) % length
    this.#ordered += 1
    for (const [account, change] of [
      [debtor, -1n],
      [creditor, 1n],
    ] as const) {
      this.#entries[account] = (this.#entries[account] as number) + 1
      this.#cents[account] = (this.#cents[account] as bigint) + change
    }
    return { debtor, creditor }
  }
}

/** A transfer of one cent as a whole HTTP request. */
export function orderTransfer(token: string, debtorIban: string, creditorIban: string): Buffer {
  const body = JSON.stringify({
    debtorAccount: { iban: debtorIban },
    creditorAccount: { iban: creditorIban },
    instructedAmount: { currency: 'EUR', amount: '0.01' },
  })
  return Buffer.from(
    [
      'POST /transfers HTTP/1.1',
      'Host: 127.0.0.1',
      `Authorization: Bearer ${token}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      '',
      body,
    ].join('\r\n'),
  )
}

async function get(url: string, token: string): Promise<unknown> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response.json()
}

/** A German IBAN of 18 digits with right check digits (ISO 7064, MOD 97-10). */
export function makeIban(account: string): string {
  const checkDigits = 98n - (BigInt(`${account}131400`) % 97n)
  return `DE${String(checkDigits).padStart(2, '0')}${account}`
}
