import type { Test } from 'tap'
import { Bank, type BankOptions } from './kill-bank.js'
import { planRound } from './kill-plan.js'
import { pointsFor } from './kill-points.js'
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

/** Runs one round for each point that the stores have, shared out to two banks at a time. */
export async function killEverywhere(t: Test, options: Omit<BankOptions, 'name'>): Promise<void> {
  const points = pointsFor(options.postgres === undefined ? 'sqlite' : 'postgres', options.redisUrl !== undefined)
  const queue = points.map((_, index) => planRound(seed, index, points))
  const passed: string[] = []
  const work = async (name: string): Promise<void> => {
    const rounds = await openRounds(t, { name, ...options })
    for (let plan = queue.shift(); plan !== undefined; plan = queue.shift()) {
      const { violations, reached } = await rounds.run(plan)
      t.strictSame(violations, [], `${plan.point}, round ${plan.index} of seed ${seed}`)
      t.ok(reached, `${plan.point} was reached`)
      passed.push(plan.point)
    }
  }
  await Promise.all(['one', 'two'].map(work))
  t.strictSame(passed.toSorted(), points.toSorted())
}
