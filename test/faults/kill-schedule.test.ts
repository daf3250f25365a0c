import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'
import { Bank, type BankOptions } from './kill-bank.js'
import type { BrokenLedgerName } from './kill-broken-ledgers.js'
import { planRound, type RoundPlan } from './kill-plan.js'
import { killPoints, pointsFor } from './kill-points.js'
import { type KillOptions, KillRounds } from './kill-round.js'
import { bundleFaultyServer } from './kill-victim.js'

const seed = 1
const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const serverPath = await bundleFaultyServer()

async function openRounds(t: Test, options: Omit<BankOptions, 'issuer'>, kill: KillOptions = {}) {
  const bank = await Bank.open({ issuer, ...options })
  const rounds = await KillRounds.open(bank, serverPath, kill)
  t.teardown(async () => {
    await rounds.close()
    bank.remove()
  })
  return rounds
}

/** Runs one round for each point that the stores have, half of them on each of two banks at a time. */
async function killEverywhere(t: Test, options: Omit<BankOptions, 'issuer' | 'name'>): Promise<void> {
  const points = pointsFor(options.postgres === undefined ? 'sqlite' : 'postgres', options.redisUrl !== undefined)
  const queue = points.map((_, index) => planRound(seed, index, points))
  const passed: string[] = []
  const work = async (name: string) => {
    const rounds = await openRounds(t, { name, ...options })
    for (let plan = queue.shift(); plan !== undefined; plan = queue.shift()) {
      const { violations, reached } = await rounds.run(plan)
      t.strictSame(violations, [], `${plan.point}, round ${plan.index} of seed ${seed}`)
      t.ok(reached, `${plan.point} was reached`)
      passed.push(plan.point)
    }
  }
  await Promise.all(['one', 'two'].map((name) => work(`${name}-${points.length}`)))
  t.strictSame(passed.toSorted(), points.toSorted())
}

t.test('with SQLite no transfer is lost or doubled, wherever the server is killed', (t) => killEverywhere(t, {}))

const skip = missingService('postgresql', 'redis-server')
t.test('with PostgreSQL and Redis none is either', { skip }, async (t) => {
  const [postgres, redis] = await Promise.all([startPostgres(t), startRedis(t)])
  await killEverywhere(t, { postgres, redisUrl: redis.url })
})

t.test('a plan follows from its seed and index', async (t) => {
  const points = pointsFor('postgres', true)
  t.strictSame(planRound(7, 3, points), planRound(7, 3, points))
  t.notSame(planRound(7, 3, points), planRound(8, 3, points))
  const cycle = points.map((_, index) => planRound(7, points.length + index, points).point)
  t.strictSame(cycle.toSorted(), points.toSorted(), 'every point comes once in a cycle')
})

t.test('docs/faults.md has every kill point with what it means', async (t) => {
  const text = readFileSync('docs/faults.md', 'utf8')
  for (const [name, { at }] of Object.entries(killPoints)) t.match(text, `| \`${name}\` | ${at} |`)
})

t.test('the audit finds out each way in which a ledger can break the promise', async (t) => {
  const transfer: RoundPlan['transfers'][number] = {
    ...{ keyed: false, declined: false, raced: false, repeated: false },
    ...{ debtor: 'alice', cents: 5, recovery: 'same-token' },
  }
  const plan: RoundPlan = {
    ...{ index: 0, point: 'answer-sent', passing: 1, delayMs: 1, startDelayMs: 1, connections: 1 },
    transfers: [transfer, transfer],
  }
  const keyed: RoundPlan = { ...plan, transfers: [{ ...transfer, keyed: true, recovery: 'fresh-token' }] }
  const cases: [BrokenLedgerName, RoundPlan, RegExp][] = [
    ['commits-late', plan, /^broken\.0\.0 was acknowledged as \S+ and is lost$/],
    ['forgets-tokens', plan, /^broken\.0\.0 was booked: [23] instead of 1$/],
    ['forgets-keys', keyed, /^broken\.0\.0 was booked: [23] instead of 1$/],
    ['books-twice', plan, /^broken\.0\.0 was booked: [234] instead of 1$/],
    ['never-answers', keyed, /^broken\.0\.0 a request has hung$/],
  ]
  for (const [broken, plan, violation] of cases) {
    const rounds = await openRounds(t, { name: 'broken' }, { broken, deadlineMs: 1000 })
    const { violations } = await rounds.run(plan)
    t.ok(
      violations.some((text) => violation.test(text)),
      `${broken}: ${violations.join('; ')}`,
    )
  }
})
