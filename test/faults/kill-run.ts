import { parseArgs } from 'node:util'
import { findLastingPort } from '../helpers/external-server.js'
import { PostgresServer } from '../helpers/postgres-server.js'
import { RedisServer } from '../helpers/redis-server.js'
import { TestIssuer } from '../helpers/test-issuer.js'
import { Bank } from './kill-bank.js'
import { planRound } from './kill-plan.js'
import { pointsFor } from './kill-points.js'
import { KillRounds } from './kill-round.js'
import { bundleFaultyServer } from './kill-victim.js'

/**
 * `npm run faults:kill -- --rounds 1000 [--seed N] [--ledger sqlite|postgres] [--redis] [--round N]`: kills the server so many
 * times, and exits with 1 when a promise was broken or, in rounds enough for all, a kill point never reached. `--round` replays one round, on a new bank. Progress goes to standard output.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e9)) },
    ledger: { type: 'string', default: 'sqlite' },
    redis: { type: 'boolean', default: false },
    round: { type: 'string' },
    workers: { type: 'string', default: '2' },
  },
})
if (values.ledger !== 'sqlite' && values.ledger !== 'postgres') throw new Error('--ledger: expected sqlite or postgres')
const { ledger, redis } = values
const seed = readWhole('seed', 0)
const rounds =
  values.round === undefined ? Array.from({ length: readWhole('rounds', 1) }, (_, n) => n) : [readWhole('round', 0)]
const workers = Math.min(readWhole('workers', 1), rounds.length)
const points = pointsFor(ledger, redis)
const stores = `--seed ${seed} --ledger ${ledger}${redis ? ' --redis' : ''}`

const reachedPoints = new Set<string>()
const totals = { rounds: 0, violated: 0, unreached: 0, transfers: 0, acknowledgedBefore: 0, broken: 0 }
const replayOf = (index: number) => `npm run faults:kill -- ${stores} --round ${index}`
const startedMs = performance.now()
const elapsedSeconds = () => Math.round((performance.now() - startedMs) / 1000)

const issuer = await TestIssuer.start()
const postgres = ledger === 'postgres' ? new PostgresServer(await findLastingPort(), {}) : undefined
const redisServer = redis ? new RedisServer(await findLastingPort(), {}) : undefined
try {
  console.log(`faults:kill ${stores}, ${rounds.length} rounds`)
  await postgres?.initialise()
  await postgres?.start()
  await redisServer?.start()
  const serverPath = await bundleFaultyServer()
  const queue = [...rounds]
  await Promise.all(Array.from({ length: workers }, (_, n) => work(`bank${n}`, serverPath, queue)))
} finally {
  await postgres?.remove()
  await redisServer?.remove()
  await issuer.stop()
}
console.log(
  `${totals.rounds} rounds, ${totals.violated} with violations: ${totals.transfers} transfers, ` +
    `${totals.acknowledgedBefore} acknowledged before the kill, ${totals.broken} answers lost to it, ` +
    `kill point not reached in ${totals.unreached}; ${stores}; ${elapsedSeconds()} s`,
)
const neverReached = rounds.length < points.length ? [] : points.filter((point) => !reachedPoints.has(point))
if (neverReached.length > 0) console.log(`never reached: ${neverReached.join(', ')}`)
process.exitCode = totals.violated > 0 || neverReached.length > 0 ? 1 : 0

function readWhole(name: 'seed' | 'rounds' | 'round' | 'workers', least: number): number {
  const value = Number(values[name])
  if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name}: expected a whole number from ${least}`)
  return value
}

async function work(name: string, serverPath: string, queue: number[]): Promise<void> {
  const bank = await Bank.open({ name, issuer, postgres, redisUrl: redisServer?.url })
  let killing: KillRounds | undefined
  try {
    killing = await KillRounds.open(bank, serverPath)
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      const plan = planRound(seed, index, points)
      const report = await killing.run(plan).catch((error: Error) => {
        console.log(`round ${index}, ${plan.point}: ${error.message}\nreplay: ${replayOf(index)}`)
        throw error
      })
      totals.rounds += 1
      totals.violated += Number(report.violations.length > 0)
      if (report.reached) reachedPoints.add(plan.point)
      totals.unreached += Number(!report.reached)
      totals.transfers += report.transfers
      totals.acknowledgedBefore += report.acknowledgedBefore
      totals.broken += report.broken
      for (const violation of report.violations) console.log(`round ${index}, ${plan.point}: ${violation}`)
      if (report.violations.length > 0) console.log(`replay: ${replayOf(index)}`)
      if (totals.rounds % 100 === 0)
        console.log(`${totals.rounds} rounds, ${totals.violated} violated, ${elapsedSeconds()} s`)
    }
  } finally {
    try {
      await killing?.close()
    } finally {
      bank.remove()
    }
  }
}
