import { readFileSync } from 'node:fs'
import t from 'tap'
import { TestIssuer } from '../helpers/test-issuer.js'
import { killEverywhere } from './kill-everywhere.js'
import { planRound } from './kill-plan.js'
import { killPoints, pointsFor } from './kill-points.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

t.test('with SQLite no transfer is lost or doubled, wherever the server is killed', (t) =>
  killEverywhere(t, { issuer }),
)

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
