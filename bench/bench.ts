import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { RunOptions } from './load-case.js'
import type { BenchAlgorithm } from './mint.js'
import { canPin, describeMachine, killServers } from './processes.js'
import { describeRun, printCase } from './report.js'
import type { CaseResult, Results } from './results.js'
import { World } from './world.js'

/**
 * Measures the built server beside what others use, case by case, and prints tables: medians, spread, ratios to baselines of
 * the same round, and goals. Fails when a candidate answers wrongly, never on a time. `--quick` is one short round of
 * everything; `--case NAME`, more than once if need be, chooses. Writes `bench/results/latest.json` after each case, and with
 * `--save`, which wants wrk and everybody there, the file that docs/performance.md and its chart are made from.
 */
const { values } = parseArgs({
  options: {
    case: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
})
const rounds = readCount('rounds', values.quick ? 1 : 3)
const seconds = readCount('seconds', values.quick ? 1 : 5)
if (values.save && values.case !== undefined) throw new Error('--save wants every case')

installPeers()
// Afterwards, because what it imports looks for the peers.
const { benchCases } = await import('./cases.js')
const { hasWrk, loadTool } = await import('./repeated-load.js')
if (values.save && !hasWrk) throw new Error('--save wants wrk')
const names = benchCases.map(({ name }) => name)
const unknown = (values.case ?? []).filter((name) => !names.includes(name))
if (unknown.length > 0) throw new Error(`--case: expected ${names.join(', ')}; got ${unknown.join(', ')}`)

const run = {
  measuredAt: new Date().toISOString().slice(0, 10),
  machine: describeMachine() + (canPin ? ', servers on core 0 and load on core 1' : ', nothing pinned'),
  load: `${loadTool}, 64 connections`,
  rounds,
  seconds,
}
console.log(`${describeRun(run)}\n`)

const worlds = new Map<BenchAlgorithm, Promise<World>>()
const options: RunOptions = {
  rounds,
  seconds,
  quick: values.quick,
  world: (algorithm) => {
    const world = worlds.get(algorithm) ?? World.create(algorithm)
    worlds.set(algorithm, world)
    return world
  },
}
const cases: CaseResult[] = []
process.on('exit', () => {
  killServers()
  World.closeAll()
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
try {
  for (const benchCase of benchCases) {
    if (values.case !== undefined && !values.case.includes(benchCase.name)) continue
    const result = await benchCase.run(options)
    cases.push(result)
    console.log(printCase(result))
    write('bench/results/latest.json', { ...run, cases })
    const missing = result.notes.filter((note) => note.startsWith('MISSING'))
    if (values.save && missing.length > 0) throw new Error(`--save wants everybody: ${missing.join('; ')}`)
  }
} finally {
  World.closeAll()
}
if (values.save) {
  write('docs/performance.json', { ...run, cases })
  console.log('written: docs/performance.json. Now "npm run generate" draws the chart and fills docs/performance.md.')
}

function write(path: string, results: Results): void {
  mkdirSync('bench/results', { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
}

function readCount(name: 'rounds' | 'seconds', preset: number): number {
  const count = Number(values[name] ?? preset)
  if (!Number.isInteger(count) || count < 1) throw new Error(`--${name}: expected a whole number, at least 1`)
  return count
}

/** Installs what bench/package-lock.json names, unless that is there. Who is missing then is said case by case. */
function installPeers(): void {
  const installed = 'bench/node_modules/.package-lock.json'
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync('bench/package-lock.json').mtimeMs) return
  const { status } = spawnSync('npm', ['ci', '--prefix', 'bench', '--no-audit', '--no-fund'], { stdio: 'inherit' })
  if (status === 0) return
  console.error('MISSING: the packages of bench/package.json could not be installed')
  if (process.env['CI'] === 'true') process.exit(1)
}
