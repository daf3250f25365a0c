import t from 'tap'
import { findUncovered } from '../../scripts/coverage.js'

const full = { lines: { pct: 100 }, branches: { pct: 100 }, functions: { pct: 100 }, statements: { pct: 100 } }

t.test('the coverage gate can fail: a gap and a file that no test loads are named', async (t) => {
  const summary = { '/x/src/a.ts': full, '/x/src/b.ts': { ...full, branches: { pct: 99.5 } } }
  t.strictSame(findUncovered(summary, ['src/a.ts', 'src/b.ts', 'src/c.ts']), [
    'src/b.ts: branches 99.5 %',
    'src/c.ts: loaded by no test',
  ])
  t.strictSame(findUncovered(summary, ['src/a.ts']), [])
})
