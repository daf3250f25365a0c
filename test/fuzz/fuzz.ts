import { deepStrictEqual } from 'node:assert'
import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { auditBank } from '../helpers/bank-audit.js'
import { startTestApi } from '../helpers/test-api.js'
import { fuzzProperties } from './properties.js'
import { fuzzEnvironment, WatchedApi } from './watched-api.js'

/**
 * Looks for a counterexample to each property of `npm test`, `--runs N` times from the seed `--seed N`, which is random when left
 * out. With `--minutes N` it goes on from the seeds that follow until the time is over. Stops at the first counterexample, with
 * status 1; the report names the seed.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5000' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
  },
})
const number = (text: string): number => {
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw new Error(`expected a whole number, got ${JSON.stringify(text)}`)
}
const numRuns = number(values.runs)
// "The books balance" would be said of nothing.
if (numRuns === 0 || values.minutes === '0') throw new Error('expected at least one run and one minute, got 0')
const endMs = values.minutes === undefined ? Infinity : performance.now() + number(values.minutes) * 60_000
const firstSeed = values.seed === undefined ? randomInt(2 ** 31) : number(values.seed)

const closers: (() => unknown)[] = []
const api = await startTestApi({ teardown: (close) => void closers.push(close) }, { environment: fuzzEnvironment })
const watched = new WatchedApi(api)
try {
  let seed = firstSeed
  do {
    for (const { name, check } of fuzzProperties(watched)) {
      const startMs = performance.now()
      if (startMs >= endMs) break
      const runs = await check({ seed, numRuns, ...(endMs < Infinity && { interruptAfterTimeLimit: endMs - startMs }) })
      console.log(`seed ${seed}: ${runs} runs, ${((performance.now() - startMs) / 1000).toFixed(1)} s: ${name}`)
    }
    seed += 1
    // The proofs of this seed are forgotten, so that there is room for the next one's.
    api.clock.advance(300_000)
  } while (values.minutes !== undefined && performance.now() < endMs)
  await auditBank({ strictSame: deepStrictEqual }, api.folder, watched.acknowledged)
  console.log(`${watched.acknowledged.length} transfers, and the books balance`)
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
for (const close of closers) await close()
