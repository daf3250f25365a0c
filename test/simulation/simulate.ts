import { parseArgs } from 'node:util'
import { type Configuration, configurations } from './apps.js'
import { report, Simulation } from './simulation.js'

/**
 * Runs `--schedules N` from the seed `--from N` on and stops at the first that breaks a promise, or runs the one of `--seed N`
 * and prints its trace. `--configuration X` keeps to one configuration. Ends with status 1
 * when a promise was broken or the options make no sense.
 */
const number = (text: string): number => {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new Error(`expected a whole number, got ${JSON.stringify(text)}`)
}
const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '1000' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    configuration: { type: 'string' },
  },
})
const configuration = configurations.find((one) => one === values.configuration)
if (values.configuration !== undefined && configuration === undefined) {
  throw new Error(`expected one of ${configurations.join(', ')}`)
}
const first = number(values.seed ?? values.from)
const count = values.seed === undefined ? number(values.schedules) : 1
// "Every promise was kept" would be said of nothing.
if (count === 0) throw new Error('expected at least one schedule, got --schedules 0')
const simulation = new Simulation()
const startMs = performance.now()
const counts = new Map<Configuration, number>()
for (let seed = first; seed < first + count; seed += 1) {
  const outcome = await simulation.run(seed, { configuration })
  counts.set(outcome.configuration, (counts.get(outcome.configuration) ?? 0) + 1)
  if (outcome.violation === undefined && values.seed === undefined) continue
  console.log(report(outcome))
  if (outcome.violation === undefined) continue
  process.exitCode = 1
  break
}
const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
const share = [...counts].map(([name, schedules]) => `${schedules} ${name}`).join(', ')
console.log(`${share}: ${process.exitCode === 1 ? 'a promise was broken' : 'every promise was kept'}, ${seconds} s`)
