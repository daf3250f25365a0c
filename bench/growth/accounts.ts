import { join } from 'node:path'
import Database from 'libsql'
import { makeIban, orderTransfer } from '../bank.js'
import { SqliteFiller } from '../fill.js'
import { measureThroughput } from '../load.js'
import type { Issuer } from '../mint.js'
import type { GrowthOptions } from './options.js'
import { latency, type Subject, throughput } from './rounds.js'
import { audience, readAccounts, type Server } from './servers.js'

const openingCents = 100_000_000
/** Fewer than the server remembers, so that reads find their token verified. */
const tokenCount = 5000
const readsPerSecond = 4000

/**
 * A ledger with so many accounts, each of an owner of its own: reads of random owners, and fresh transfers between random
 * accounts, for which there must be two. Resolves to what is to be measured and to a check of the books.
 */
export async function prepareAccounts(count: number, options: GrowthOptions) {
  const { folder, issuer, servers, seconds, transfersPerSecond } = options
  const dataFolder = join(folder, `accounts-${count}`)
  await fill(dataFolder, issuer, count)
  const server = await servers.start({ issuer, dataFolder })
  await expectOwnAccounts(server, issuer, count)
  const owners = Array.from({ length: tokenCount }, () => `owner-${pick(count)}`)
  const pool = readAccounts(await issuer.mint(audience, owners, 'read:accounts'))
  /** An only account finds no creditor. It is asked all the same, so that its server has as much behind it as the others. */
  const expected = count > 1 ? 'HTTP/1.1 201 ' : 'HTTP/1.1 404 '
  let booked = 0

  function reads(requestCount: number) {
    const requests = Array.from({ length: requestCount }, (_, index) => pool[index % pool.length] as Buffer)
    return { label: 'reads, tokens known', server, requests, expected: 'HTTP/1.1 200 ' }
  }

  /** They count as booked from now on. */
  async function transfers(requestCount: number) {
    const requests = await order(issuer, count, requestCount)
    if (count > 1) booked += requestCount
    return { label: 'fresh transfers', server, requests, expected }
  }

  for (const load of [await transfers(3000), reads(4 * tokenCount)])
    await measureThroughput({ ...load, port: server.port, warmUp: 1 })

  const subject: Subject = {
    name: `${count.toLocaleString('en')} ${count === 1 ? 'account' : 'accounts'}`,
    measure: async () => {
      const hot = await throughput(reads(seconds * 6000))
      const steady = await latency(reads(seconds * readsPerSecond), readsPerSecond)
      const booked = await latency(await transfers(seconds * transfersPerSecond), transfersPerSecond)
      return { ...hot, ...steady, ...(count > 1 && booked) }
    },
  }
  return { subject, check: () => checkBooks(dataFolder, booked) }
}

async function fill(dataFolder: string, issuer: Issuer, count: number): Promise<void> {
  const filler = await SqliteFiller.create(dataFolder)
  const iban = `printf('DE%02d%018d', 98 - (i * 1000000 + 131400) % 97, i)`
  const step = Math.floor(2 ** 32 / count)
  await filler.insert(
    'accounts',
    count,
    `printf('%08x-0000-4000-8000-000000000000', i * ${step}), '${issuer.url}', 'owner-' || i, ${iban}, 'Bench', 'EUR',
     ${openingCents}, ${openingCents}, 0`,
  )
  filler.close()
}

function ibanOf(account: number): string {
  return makeIban(String(account).padStart(18, '0'))
}

function pick(count: number): number {
  return Math.floor(Math.random() * count)
}

async function order(issuer: Issuer, accountCount: number, count: number): Promise<Buffer[]> {
  const debtors = Array.from({ length: count }, () => pick(accountCount))
  const owners = debtors.map((debtor) => `owner-${debtor}`)
  const tokens = await issuer.mint(audience, owners, 'transfer:funds')
  return debtors.map((debtor, index) => {
    const creditor = accountCount === 1 ? 1 : (debtor + 1 + pick(accountCount - 1)) % accountCount
    return orderTransfer(tokens[index] as string, ibanOf(debtor), ibanOf(creditor))
  })
}

/** Throws unless the first owner, the last and some between see their own account and no other. */
async function expectOwnAccounts({ url }: Server, issuer: Issuer, count: number): Promise<void> {
  const numbers = [0, count - 1, ...Array.from({ length: 20 }, () => pick(count))]
  const owners = numbers.map((number) => `owner-${number}`)
  const tokens = await issuer.mint(audience, owners, 'read:accounts')
  for (const [index, number] of numbers.entries()) {
    const response = await fetch(`${url}/accounts`, { headers: { authorization: `Bearer ${tokens[index]}` } })
    const { accounts } = (await response.json()) as { accounts?: { iban: string }[] }
    if (accounts?.length !== 1 || accounts[0]?.iban !== ibanOf(number))
      throw new Error(`owner ${number} got ${response.status} ${JSON.stringify(accounts)}`)
  }
}

/** Throws unless the books hold what was acknowledged, as postings that sum to zero and agree with the balances. */
async function checkBooks(dataFolder: string, booked: number): Promise<void> {
  const database = new Database(join(dataFolder, 'ledger.sqlite'))
  const question = database.prepare(
    `select (select count(*) from transfers) as transfers, count(*) as postings, coalesce(sum(amount), 0) as sum,
     (select count(*) from (select account_id, sum(amount) as change from postings group by account_id)
      join accounts on id = account_id where balance <> opening_balance + change) as wrong from postings`,
  )
  const books = question.get() as Record<string, unknown>
  database.close()
  const { transfers, postings, sum, wrong } = books
  if (transfers !== booked || postings !== 2 * booked || sum !== 0 || wrong !== 0)
    throw new Error(`${booked} transfers were acknowledged, unlike the books: ${JSON.stringify(books)}`)
}
