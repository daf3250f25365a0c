import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync } from 'node:fs'
import { findUncovered } from './coverage.js'

/**
 * Runs every test, or the compiled files named, and ends with one line of counts. With CI=true the coverage of src must be
 * complete as well.
 */
const output = '.tap/output.tap'
const plugins = '.tap/plugins'
const enforced = process.env['CI'] === 'true'
const named = process.argv.slice(2)

function tap(...parameters: string[]): number {
  return (
    spawnSync(process.execPath, ['node_modules/tap/dist/esm/run.mjs', ...parameters], { stdio: 'inherit' }).status ?? 1
  )
}

function find(folder: string, ending: string): string[] {
  const names = readdirSync(folder, { recursive: true }) as string[]
  return names.filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name}`)
}

// The set of tap plugins differs from the default one, so tap has to build it into every new node_modules.
if (!existsSync(plugins) || statSync('node_modules/.package-lock.json').mtimeMs > statSync(plugins).mtimeMs) {
  tap('build')
  utimesSync(plugins, new Date(), new Date())
}
mkdirSync('.tap', { recursive: true })
const status = tap(
  '--reporter=silent',
  `--output-file=${output}`,
  '--allow-incomplete-coverage',
  '--coverage-report=json-summary',
  ...(named.length > 0 ? named : find('.build/test', '.test.js')),
)

const uncovered = findUncovered(
  JSON.parse(readFileSync('.tap/report/coverage-summary.json', 'utf8')),
  find('src', '.ts'),
)
if (named.length === 0) {
  for (const line of uncovered) console.log(`not covered: ${line}`)
  if (!enforced) console.log('Coverage of src is not enforced without CI=true.')
}

const lines = readFileSync(output, 'utf8').split('\n')
printFailures(lines)
const totals = lines.findLast((line) => /^# \{ total: /.test(line))
const count = (name: string): number => Number(new RegExp(`${name}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0)
console.log(`${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`)
process.exitCode =
  status !== 0 || count('pass') === 0 || (enforced && named.length === 0 && uncovered.length > 0) ? 1 : 0

/** Prints each failed assertion with its diagnosis, and each skip with its reason. */
function printFailures(lines: readonly string[]): void {
  let failing = false
  for (const line of lines) {
    if (/^ *(?:not )?ok \d/.test(line)) failing = /^ *not ok/.test(line)
    else if (/^ *(?:# Subtest|\d+\.\.\d+)/.test(line)) failing = false
    if (failing || / # SKIP/.test(line)) console.log(line)
  }
}
