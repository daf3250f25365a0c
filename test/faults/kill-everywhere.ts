import type { Test } from 'tap'
import { Bank, type BankOptions } from './kill-bank.js'
import { planRound, type RoundPlan } from './kill-plan.js'
import { type KillPointName, pointsFor } from './kill-points.js'
import { type KillOptions, KillRounds } from './kill-round.js'
import { bundleFaultyServer } from './kill-victim.js'

const seed = 1
let serverPath: Promise<string> | undefined

/** Opens a bank whose server is to be killed. At the end of the test both are gone. */
export async function openRounds(t: Test, options: BankOptions, kill: KillOptions = {}): Promise<KillRounds> {
  serverPath ??= bundleFaultyServer()
  const bank = await Bank.open(options)
  let rounds: KillRounds | undefined
  t.teardown(async () => {
    try {
      await rounds?.close()
    } finally {
      bank.remove()
    }
  })
  rounds = await KillRounds.open(bank, await serverPath, kill)
  return rounds
}

/** Rounds to try for a point: on a busy machine Redis may be out of reach for one, and then nothing is given back there. */
const mostRounds = 3

/** Runs a round for each point that the stores have, shared out to two banks at a time. */
export async function killEverywhere(t: Test, options: Omit<BankOptions, 'name'>): Promise<void> {
  const points = pointsFor(options.postgres === undefined ? 'sqlite' : 'postgres', options.redisUrl !== undefined)
  const queue = [...points]
  const passed: KillPointName[] = []
  const work = async (name: string): Promise<void> => {
    const rounds = await openRounds(t, { name, ...options })
    for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
      let wasReached = false
      for (let cycle = 0; cycle < mostRounds && !wasReached; cycle += 1) {
        const plan = planOf(point, cycle, points)
        const { violations, reached } = await rounds.run(plan)
        t.strictSame(violations, [], `${point}, round ${plan.index} of seed ${seed}`)
        wasReached = reached
      }
      t.ok(wasReached, `${point} was reached`)
      passed.push(point)
    }
  }
  await Promise.all(['one', 'two'].map(work))
  t.strictSame(passed.toSorted(), points.toSorted())
}

/** The round of a point in one of the cycles, each of which has every point once. */
function planOf(point: KillPointName, cycle: number, points: readonly KillPointName[]): RoundPlan {
  const plans = points.map((_, index) => planRound(seed, cycle * points.length + index, points))
  return plans.find((plan) => plan.point === point) as RoundPlan
}
