import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { RunOptions } from './load-case.js'
import type { BenchAlgorithm } from './mint.js'
import { canPin, describeMachine } from './processes.js'
import { describeRun, printCase } from './report.js'
import type { CaseResult, Results } from './results.js'
import { World } from './world.js'

/**
 * Measures the built server beside what others use, case by case, and prints tables: medians, spread, ratios to baselines of
 * the same round, and goals. Fails when a candidate answers wrongly, never on a time. `--quick` is one short round of
 * everything; `--case NAME`, more than once if need be, chooses. Writes `bench/results/latest.json`, and with `--save` the file
 * that docs/performance.md and its chart are made from.
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
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const seconds = Number(values.seconds ?? (values.quick ? 1 : 5))
if (values.save && values.case !== undefined) throw new Error('--save wants every case')

installPeers()
// Afterwards, because what it imports looks for the peers.
const { benchCases } = await import('./cases.js')
const { loadTool } = await import('./repeated-load.js')
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
try {
  for (const benchCase of benchCases) {
    if (values.case !== undefined && !values.case.includes(benchCase.name)) continue
    const result = await benchCase.run(options)
    cases.push(result)
    console.log(printCase(result))
  }
} finally {
  for (const world of worlds.values()) (await world).close()
}
write('bench/results/latest.json', { ...run, cases })
if (values.save) {
  write('docs/performance.json', { ...run, cases })
  console.log('Now "npm run generate" draws the chart and fills docs/performance.md.')
}

function write(path: string, results: Results): void {
  mkdirSync('bench/results', { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
  console.log(`written: ${path}`)
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
