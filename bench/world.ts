import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parseOpeningAccounts } from '#src/core/opening-accounts.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { Bank } from './bank.js'
import { openAccountQuery } from './candidates/accounts.js'
import { type BenchAlgorithm, type Issuer, startIssuer } from './mint.js'

/** Where every candidate says that it stands, so that all of them get the same bytes. */
export const audience = 'https://api.example.com'

const accountCount = 1000
const lifetimeSeconds = 7200

/** What the candidates of a case share: an issuer with one key, a bank's accounts in a SQLite ledger, and a caller's tokens. */
export class World {
  static readonly #open = new Set<World>()
  readonly algorithm: BenchAlgorithm
  readonly issuer: Issuer
  readonly bank: Bank
  /** Of this run, below `.build`: a disk, where a temporary folder may be memory. */
  readonly folder: string
  readonly dataFolder: string
  readonly accountsFile: string
  /** Whose accounts are read. */
  readonly subject = 'owner-0'
  /** What GET /accounts must answer: an object. */
  accounts: object = {}
  #tokens: string[] = []

  private constructor(algorithm: BenchAlgorithm, issuer: Issuer) {
    this.algorithm = algorithm
    this.issuer = issuer
    this.bank = new Bank(issuer, accountCount)
    mkdirSync('.build', { recursive: true })
    this.folder = mkdtempSync(join('.build', 'bench-'))
    this.dataFolder = join(this.folder, 'data')
    this.accountsFile = join(this.folder, 'accounts.json')
    writeFileSync(this.accountsFile, this.bank.accountsFile)
    World.#open.add(this)
  }

  static async create(algorithm: BenchAlgorithm): Promise<World> {
    const world = new World(algorithm, await startIssuer(algorithm))
    const parsed = parseOpeningAccounts(world.bank.accountsFile)
    if ('faults' in parsed) throw new Error(parsed.faults.join('; '))
    const ledger = await SqliteLedger.open(world.dataFolder)
    await ledger.openAccounts(world.issuer.url, parsed.accounts)
    await ledger.close()
    const accountsOf = await openAccountQuery(world.dataFolder)
    world.accounts = await accountsOf({ issuer: world.issuer.url, subject: world.subject })
    expectOpening(world.accounts, world.bank.openingAnswer(world.subject))
    return world
  }

  /** So many different tokens of the caller that may read accounts; the same ones each time. */
  async tokens(count: number): Promise<string[]> {
    const missing = count - this.#tokens.length
    if (missing > 0) {
      const subjects = Array.from({ length: missing }, () => this.subject)
      this.#tokens.push(...(await this.issuer.mint(audience, subjects, 'read:accounts', longLived())))
    }
    return this.#tokens.slice(0, count)
  }

  close(): void {
    this.issuer.close()
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 })
    World.#open.delete(this)
  }

  static closeAll(): void {
    for (const world of World.#open) world.close()
  }
}

/** Throws unless what the ledger answers is what the bank opened, with an identifier for each account. */
function expectOpening(found: object, opened: { accounts: object[] }): void {
  const { accounts } = found as { accounts: { resourceId: string }[] }
  const withoutIds = accounts.map(({ resourceId: _, ...rest }) => rest)
  const identified = accounts.every(({ resourceId }) => typeof resourceId === 'string' && resourceId !== '')
  if (!identified || !isDeepStrictEqual({ accounts: withoutIds }, opened) || accounts.length === 0) {
    throw new Error(`the ledger answers ${JSON.stringify(found)} where the bank opened ${JSON.stringify(opened)}`)
  }
}

/** Claims of a token that outlives a run. */
export function longLived(): { exp: number } {
  return { exp: Math.floor(Date.now() / 1000) + lifetimeSeconds }
}

/** GET /accounts with a token, as it goes over the wire. */
export function readAccounts(token: string, { scheme = 'Bearer', fields = '' } = {}): Buffer {
  return Buffer.from(`GET /accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${scheme} ${token}\r\n${fields}\r\n`)
}
