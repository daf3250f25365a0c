import t from 'tap'
import { bareQuery, bareQueryVerify, bareSingleQuery, bareStatic, haproxy } from '../../bench/candidates.js'
import { drawChart } from '../../bench/chart.js'
import { fillFigures } from '../../bench/page.js'
import { printCase } from '../../bench/report.js'
import { type CaseResult, type Goal, judge, type Results } from '../../bench/results.js'

const goal: Goal = {
  candidate: 'stepgate',
  figure: 'requests/s',
  baseline: 'bare & fast',
  bound: 'least',
  goal: 0.8,
  stretch: 0.9,
}
const hot: CaseResult = {
  name: 'hot',
  title: 'one token',
  notes: ['a note'],
  measured: [
    { name: 'peer <1>', baseline: 'bare & fast', figures: { 'requests/s': [400, 250, 500] } },
    { name: 'stepgate', baseline: 'bare & fast', figures: { 'requests/s': [900, 400, 850], 'resident, MB': [120] } },
    { name: 'bare & fast', figures: { 'requests/s': [1000, 500, 1000] } },
  ],
  goals: [goal],
}
const results: Results = { measuredAt: 'today', machine: 'a machine', load: 'wrk', rounds: 1, seconds: 5, cases: [hot] }

t.test('a ratio is taken within each round, and its median decides about the goal', async (t) => {
  const ratio = { median: 0.85, least: 0.8, most: 0.9 }
  t.strictSame(judge(hot, goal), { spread: ratio, verdict: 'reached' })
  t.equal(judge(hot, { ...goal, stretch: 0.85 })?.verdict, 'stretch', 'a limit is reached when it is met')
  t.equal(judge(hot, { ...goal, goal: 0.86 })?.verdict, 'missed')
  const { baseline, ...alone } = goal
  const memory: Goal = { ...alone, figure: 'resident, MB', bound: 'most', goal: 120, stretch: 100 }
  t.equal(judge(hot, memory)?.verdict, 'reached')
  t.equal(judge(hot, { ...memory, goal: 119 })?.verdict, 'missed')
  t.equal(judge(hot, { ...goal, candidate: 'nobody' }), undefined, 'what was not measured is not judged')
})

t.test('a case is printed with median, spread, ratio and goal', async (t) => {
  const text = printCase(hot)
  t.match(text, /^stepgate +850 \(400 to 900\) +120 +0\.85 \(0\.80 to 0\.90\) +bare & fast$/m)
  t.match(text, 'goal: stepgate to bare & fast ≥ 0.80 (stretch 0.90): 0.85 (0.80 to 0.90), reached\n')
  t.match(text, 'a note')
})

t.test(
  'the chart shows candidates by ratio, follows the reader’s colours and can be read without seeing it',
  async (t) => {
    const chart = drawChart(results)
    const names = [...chart.matchAll(/<text class="name"[^>]*>([^<]*)</g)].map(([, name]) => name)
    t.strictSame(names, ['stepgate', 'peer &lt;1>'])
    t.match(chart, 'role="img" aria-labelledby="title description"')
    t.match(chart, '<desc id="description">stepgate 0.85; peer &lt;1> 0.50.</desc>')
    t.match(chart, '@media (prefers-color-scheme: dark)')
    t.notMatch(chart.replace('xmlns="http://www.w3.org/2000/svg"', ''), /https?:|url\(|@import/, 'nothing is fetched')
    t.throws(() => drawChart({ ...results, cases: [] }), /hot/)
  },
)

t.test('the page of figures is filled between its comments, again and again', async (t) => {
  const frame = (text: string) => {
    return `# Before\n\n<!-- Figures: made from performance.json by "npm run generate". -->${text}<!-- End of the figures. -->\n\nAfter\n`
  }
  const page = fillFigures(frame('\n\nold\n\n'), results)
  t.match(page, '| stepgate | 850 (400 to 900) | 120 | 0.85 (0.80 to 0.90) | bare & fast |')
  t.match(page, /^# Before\n.*\n\nAfter\n$/s)
  t.match(page, 'not to be relied on', 'one round says little')
  t.notMatch(fillFigures(page, { ...results, rounds: 3 }), 'relied on')
  t.notMatch(page, 'old')
  t.equal(fillFigures(page, results), page)
  t.throws(() => fillFigures('no comments', results), /comments/)
})

t.test('the chart leaves out whoever does not authenticate, and names HAProxy only when it is there', async (t) => {
  const unauthenticated = [bareStatic, bareQuery, bareSingleQuery]
  const bar = ({ name }: { name: string }) => ({ name, baseline: 'bare & fast', figures: { 'requests/s': [1, 1, 1] } })
  const withAll = (more: CaseResult['measured']) => {
    return drawChart({ ...results, cases: [{ ...hot, measured: [...hot.measured, ...more] }] })
  }
  const chart = withAll(unauthenticated.map(bar))
  for (const { name } of unauthenticated) t.notMatch(chart, name)
  t.notMatch(chart, 'HAProxy')
  t.match(withAll([bar(haproxy)]), 'HAProxy answers from memory')
})

t.test('the chart says beside a remembered token what new ones cost', async (t) => {
  t.match(drawChart(results), 'remember that they verified this token')
  const cold = { ...hot, name: 'cold-rs256' }
  const measured = [
    { name: 'stepgate', figures: { 'requests/s': [50] } },
    { name: bareQueryVerify.name, figures: { 'requests/s': [100] } },
  ]
  t.match(drawChart({ ...results, cases: [hot, { ...cold, measured }] }), 'stepgate, new tokens: 0.50 of')
})
