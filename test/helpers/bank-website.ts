import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Secret, TOTP } from 'otpauth'
import type { Page } from 'playwright-core'
import { buildApp, JwksKeySource, LruReplayStore, readConfig, SqliteLedger } from 'stepgate'
import type { Test } from 'tap'
import { bankWebClient } from '../../examples/authorization-server/demo-users.js'
import { startAuthorizationServer } from '../../examples/authorization-server/server.js'
import { buildBankWeb } from '../../examples/bank-web/server.js'
import { demoStepUp } from '../../examples/demo/settings.js'
import { ManualClock } from './manual-clock.js'
import { findLastingPort } from './ports.js'
import { startTcpProxy } from './tcp-proxy.js'

const host = '127.0.0.1'
const names =
  'alice bea carol dora emil fred gina hugo ines jack kim lena max nora otto pia quin rosa sam tina udo vera will xena yara zoe adam bert cora dirk ella finn gwen hans ida'.split(
    ' ',
  )
const codeSeconds = 30
const codeLagMs = 8 * codeSeconds * 1000

/** Someone with two accounts in EUR, whom no other case knows. */
export interface Customer {
  readonly username: string
  readonly password: string
  readonly current: string
  readonly savings: string
  /** What the authenticator app shows. A code works once, so for another one the authorization server's clock is stepped. */
  nextCode(): string
}

/**
 * The front end, the API on SQLite and the authorization server with one-time passwords, each on its own port, as they are
 * shipped. The API and the authorization server are reached through proxies that can break.
 */
export async function startBankWebsite(t: Test, environment: Record<string, string> = {}) {
  const [webPort, apiPort, issuerPort] = [await findLastingPort(), await findLastingPort(), await findLastingPort()]
  const toApi = await startTcpProxy(t, { port: apiPort })
  const toIssuer = await startTcpProxy(t, { port: issuerPort })
  const webUrl = `http://${host}:${webPort}`
  const apiUrl = `http://${host}:${toApi.port}`
  const issuer = `http://${host}:${toIssuer.port}`

  // Behind the machine's clock, so that stepping it for the next code does not lead into the future.
  const codeClock = new ManualClock(Date.now() - codeLagMs)
  const people = names.map((username) => {
    const password = `the password of ${username}`
    return { username, password, totpSecret: new Secret({ buffer: Uint8Array.from(randomBytes(20)).buffer }).base32 }
  })
  const authorizationServer = await startAuthorizationServer({
    port: issuerPort,
    issuer,
    resource: apiUrl,
    users: people,
    clients: [bankWebClient(webUrl)],
    clock: codeClock,
    passwordCost: { N: 2 },
  })
  t.teardown(() => authorizationServer.close())

  const clock = new OffsetClock()
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-website-'))
  const read = readConfig({
    ISSUER: issuer,
    AUDIENCE: apiUrl,
    PUBLIC_URL: apiUrl,
    DATA_DIR: folder,
    LOG_LEVEL: 'silent',
    STEP_UP_ACR_VALUES: demoStepUp.acrValues,
    STEP_UP_MAX_AGE: String(demoStepUp.maxAgeSeconds),
    CORS_ORIGINS: webUrl,
    ...environment,
  })
  if ('faults' in read) throw new Error(read.faults.join('; '))
  const { config } = read
  const ledger = await SqliteLedger.open(folder)
  const customers = people.map(({ username }, index) => ({
    username,
    current: germanIban(2 * index),
    savings: germanIban(2 * index + 1),
  }))
  await ledger.openAccounts(
    issuer,
    customers.flatMap(({ username: subject, current, savings }) => [
      { subject, iban: current, name: 'Current account', currency: 'EUR', balanceMinorUnits: 250_000n },
      { subject, iban: savings, name: 'Savings', currency: 'EUR', balanceMinorUnits: 1_000_000n },
    ]),
  )
  const keySource = new JwksKeySource({ issuer, jwksUri: undefined, algorithms: config.ALGORITHMS, clock })
  const replayStore = new LruReplayStore({ maxEntries: 1000, clock, whenFull: 'forget' })
  const api = await buildApp(config, { clock, keySource, ledger, replayStore })
  await api.listen({ host, port: apiPort })
  t.teardown(async () => {
    api.server.closeAllConnections()
    await api.close()
    keySource.close()
    await ledger.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const web = buildBankWeb({ apiUrl, issuer, clientId: bankWebClient(webUrl).client_id })
  await web.listen({ host, port: webPort })
  t.teardown(async () => {
    web.server.closeAllConnections()
    await web.close()
  })

  let nextCustomer = 0
  /** The next customer, whom no other case has used. */
  function customer(): Customer {
    const [person, accounts] = [people[nextCustomer], customers[nextCustomer]]
    nextCustomer += 1
    if (person === undefined || accounts === undefined) throw new Error('there are no more customers: add a name')
    const totp = new TOTP({ secret: person.totpSecret })
    let lastCode = ''
    const nextCode = () => {
      // It stands still, and must not fall so far behind that auth_time is too old.
      codeClock.advance(Math.max(0, Date.now() - codeLagMs - codeClock.nowMs()))
      if (totp.generate({ timestamp: codeClock.nowMs() }) === lastCode) codeClock.advance(codeSeconds * 1000)
      lastCode = totp.generate({ timestamp: codeClock.nowMs() })
      return lastCode
    }
    return { ...person, ...accounts, nextCode }
  }

  /** Balances in minor units, from the ledger. */
  async function balances({ username: subject }: Customer): Promise<Record<string, bigint>> {
    const accounts = await ledger.accountsOf({ issuer, subject })
    return Object.fromEntries(accounts.map(({ iban, balanceMinorUnits }) => [iban, balanceMinorUnits]))
  }

  return { webUrl, apiUrl, issuer, folder, toApi, toIssuer, clock, customer, balances }
}

export type BankWebsite = Awaited<ReturnType<typeof startBankWebsite>>

/** Fills in the password's page. */
export async function givePassword(page: Page, { username, password }: Customer): Promise<void> {
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('Password').fill(password)
  await press(page, 'Sign in')
}

/** Fills in the second factor's page. */
export async function giveCode(page: Page, customer: Customer): Promise<void> {
  await page.getByLabel('Six-digit code').fill(customer.nextCode())
  await press(page, 'Confirm')
}

/** Signs in at the front end, from its first page to the accounts. */
export async function signIn(page: Page, { webUrl }: BankWebsite, customer: Customer): Promise<void> {
  await page.goto(webUrl)
  await press(page, 'Sign in')
  await givePassword(page, customer)
  await untilScreen(page, 'Your accounts')
}

/** Signs out, at the front end and at the authorization server. */
export async function signOut(page: Page): Promise<void> {
  await press(page, 'Sign out')
  await untilScreen(page, 'Sign out?')
  await press(page, 'Sign out')
  await untilScreen(page, 'Welcome')
}

/** Presses the button of this name. */
export function press(page: Page, name: string): Promise<void> {
  return page.getByRole('button', { name, exact: true }).click()
}

/** Fills in the form for 25.00 EUR from the current account to the savings. */
export async function fillTransfer(page: Page, { current, savings }: Customer, amount = '25'): Promise<void> {
  await untilScreen(page, 'Make a transfer')
  await page.getByLabel('From').selectOption(current)
  await page.getByLabel('To (IBAN)').fill(savings)
  await page.getByLabel('Amount').fill(amount)
}

/** Opens the form, fills it in, and goes on. */
export async function orderTransfer(page: Page, customer: Customer, amount?: string): Promise<void> {
  await page.getByRole('link', { name: 'Make a transfer' }).click()
  await fillTransfer(page, customer, amount)
  await press(page, 'Continue')
}

/** Has the app try what it could know to be refused. */
export async function pretendNotToKnow(page: Page): Promise<void> {
  await press(page, 'What happens')
  await page.getByLabel('Pretend not to know').check()
}

/** Leaves for the second factor's page. Returns what the authorization server is asked for. */
export async function leaveToConfirm(page: Page, { issuer }: BankWebsite): Promise<URLSearchParams> {
  const leaving = page.waitForRequest((request) => request.url().startsWith(`${issuer}/auth?`))
  await press(page, 'Confirm with a code')
  return new URL((await leaving).url()).searchParams
}

/** Goes to the second factor's page and comes back. */
export async function confirmTransfer(page: Page, customer: Customer): Promise<void> {
  await press(page, 'Confirm with a code')
  await giveCode(page, customer)
}

/** Waits for the screen with this heading. */
export async function untilScreen(page: Page, title: string): Promise<void> {
  await page.getByRole('heading', { name: title, level: 1 }).waitFor()
}

/** The machine's clock, moved. */
class OffsetClock {
  offsetMs = 0

  nowMs(): number {
    return Date.now() + this.offsetMs
  }
}

/** A German IBAN with right check digits (ISO 7064, MOD 97-10) for an account number. */
function germanIban(account: number): string {
  const basic = `37040044${String(532_013_000 + account).padStart(10, '0')}`
  const checkDigits = 98n - (BigInt(`${basic}131400`) % 97n)
  return `DE${String(checkDigits).padStart(2, '0')}${basic}`
}
