import t from 'tap'
import { TestIssuer } from '../helpers/test-issuer.js'
import type { BrokenLedgerName } from './kill-broken-ledgers.js'
import { openRounds } from './kill-everywhere.js'
import type { RoundPlan } from './kill-plan.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

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
    const rounds = await openRounds(t, { name: 'broken', issuer }, { broken, deadlineMs: 1000 })
    const { violations } = await rounds.run(plan)
    t.ok(
      violations.some((text) => violation.test(text)),
      `${broken}: ${violations.join('; ')}`,
    )
  }
})
