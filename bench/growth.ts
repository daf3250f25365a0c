import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { expectRoom } from './fill.js'
import { prepareAccounts } from './growth/accounts.js'
import { prepareKeys } from './growth/keys.js'
import type { GrowthOptions } from './growth/options.js'
import { prepareProcesses } from './growth/processes.js'
import { measureInTurn, type Subject } from './growth/rounds.js'
import { audience, Servers } from './growth/servers.js'
import { prepareSpentTokens } from './growth/spent-tokens.js'
import { connectionCount } from './load.js'
import { startIssuer } from './mint.js'
import { canPin, describeMachine, pinClient } from './processes.js'

/**
 * Measures on the built server, with a SQLite ledger and ES256 tokens, how it takes growth of four kinds: accounts, spent
 * tokens, keys of the issuer, and processes. The servers of all sizes are filled and started first and then measured in turn;
 * only ratios between them count. Any answer but the expected one fails the run, and so do books that do not agree with what
 * was acknowledged. `--quick` takes the small sizes once, `--only accounts,keys` some of the kinds. Needs 5 GB of disk in
 * `.build` for the largest sizes, and gives them back however it ends.
 */
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    seconds: { type: 'string' },
    rate: { type: 'string', default: '500' },
  },
})
const { quick } = values
const rounds = quick ? 1 : 3

interface Kind {
  sizes: readonly number[]
  quickSizes: number
  prepare: (size: number, options: GrowthOptions) => Promise<{ subject: Subject; check: () => Promise<unknown> }>
}

const kinds: Record<string, Kind> = {
  // First, because its load may run on every core.
  processes: { sizes: [1, 2, 4], quickSizes: 2, prepare: prepareProcesses },
  keys: { sizes: [1, 10, 100, 1000], quickSizes: 3, prepare: prepareKeys },
  accounts: { sizes: [1, 1000, 1_000_000, 10_000_000], quickSizes: 2, prepare: prepareAccounts },
  'spent-tokens': { sizes: [0, 100_000, 10_000_000], quickSizes: 2, prepare: prepareSpentTokens },
}
const chosen = values.only?.split(',') ?? Object.keys(kinds)
for (const name of chosen)
  if (kinds[name] === undefined) throw new Error(`--only: expected some of ${Object.keys(kinds)}, got ${name}`)

const folder = mkdtempSync(join('.build', 'bench-'))
const servers = new Servers()
process.on('exit', () => {
  servers.kill()
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))

const issuer = await startIssuer('ES256')
// Signing starts the threads that sign, which then stay on every core.
await issuer.mint(audience, ['first'], 'read:accounts')
const options: Omit<GrowthOptions, 'folder'> = {
  servers,
  issuer,
  seconds: Number(values.seconds ?? (quick ? 1 : 3)),
  transfersPerSecond: Number(values.rate),
}
console.log(`${describeMachine()}, ${connectionCount} keep-alive connections, ES256, SQLite`)
for (const [name, kind] of Object.entries(kinds)) if (chosen.includes(name)) await measureKind(name, kind)
issuer.close()

async function measureKind(name: string, { sizes, quickSizes, prepare }: Kind): Promise<void> {
  const some = quick ? sizes.slice(0, quickSizes) : sizes
  const total = some.reduce((sum, size) => sum + size)
  if (name === 'accounts') expectRoom(folder, { accounts: total })
  if (name === 'spent-tokens') expectRoom(folder, { tokens: total })
  if (name !== 'processes') pinClient()
  const cores =
    name === 'processes'
      ? `server and load share ${cpus().length} cores`
      : canPin
        ? 'server on core 0, load on core 1'
        : 'nothing pinned'
  console.log(`${name} (${cores})`)
  const kindFolder = join(folder, name)
  mkdirSync(kindFolder)
  const prepared = []
  for (const size of some) prepared.push(await prepare(size, { ...options, folder: kindFolder }))
  await measureInTurn(
    prepared.map(({ subject }) => subject),
    rounds,
  )
  for (const { check } of prepared) await check()
  await servers.stop()
  rmSync(kindFolder, { recursive: true })
}
