import {
  type CaseResult,
  type Figure,
  type Goal,
  judge,
  type Results,
  ratiosOf,
  type Spread,
  spreadOf,
} from './results.js'

const locale = 'en-US'
const time: Figure = 'µs of processor time each'
const verdicts = { stretch: 'reached, and the stretch goal', reached: 'reached', missed: 'MISSED' }

/** The rows of a case's table, its head first: what was measured, as median with least and most, and the ratio to the baseline. */
export function tableOf(result: CaseResult): string[][] {
  const columns = [...new Set(result.measured.flatMap(({ figures }) => Object.keys(figures) as Figure[]))]
  const withRatio = result.measured.some(({ baseline }) => baseline !== undefined)
  const withTime = withRatio && columns.includes(time)
  const head = ['', ...columns, ...(withRatio ? ['ratio', ...(withTime ? ['of processor time'] : []), 'to'] : [])]
  const rows = result.measured.map(({ name, figures, baseline }) => {
    const cells = columns.map((figure) => {
      const values = figures[figure]
      return values === undefined ? '' : formatSpread(spreadOf(values))
    })
    if (!withRatio) return [name, ...cells]
    const ratio = (figure: Figure) => {
      const ratios = baseline === undefined ? undefined : ratiosOf(result, { candidate: name, baseline, figure })
      return ratios === undefined ? '' : formatSpread(spreadOf(ratios), 2)
    }
    const ofRequests = ratio('requests/s')
    return [name, ...cells, ofRequests, ...(withTime ? [ratio(time)] : []), ofRequests === '' ? '' : (baseline ?? '')]
  })
  return [head, ...rows]
}

/** A goal in words, with what was measured and whether it is reached. */
export function describeGoal(result: CaseResult, goal: Goal): string {
  const { candidate, figure, baseline, bound } = goal
  const digits = baseline === undefined ? 0 : 2
  const sign = bound === 'least' ? '≥' : '≤'
  const limits = `${sign} ${format(goal.goal, digits)} (stretch ${format(goal.stretch, digits)})`
  const what = baseline === undefined ? `${candidate}, ${figure}` : `${candidate} to ${baseline}`
  const found = judge(result, goal)
  if (found === undefined) return `${what} ${limits}: not measured`
  return `${what} ${limits}: ${formatSpread(found.spread, digits)}, ${verdicts[found.verdict]}`
}

/** A case for a terminal. */
export function printCase(result: CaseResult): string {
  const table = tableOf(result)
  const widths = (table[0] as string[]).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd(),
  )
  const goals = result.goals.map((goal) => `goal: ${describeGoal(result, goal)}`)
  return [`${result.name}: ${result.title}`, ...lines, ...goals, ...result.notes, ''].join('\n')
}

/** How a run was made, in a sentence. */
export function describeRun({ measuredAt, machine, load, rounds, seconds }: Omit<Results, 'cases'>): string {
  const many = rounds === 1 ? 'one round' : `median of ${rounds} rounds (least to most)`
  return `${machine}; ${load}; ${many} of ${seconds} s each where requests can be repeated; ${measuredAt}`
}

function formatSpread({ median, least, most }: Spread, digits = 0): string {
  const text = format(median, digits)
  return least === most ? text : `${text} (${format(least, digits)} to ${format(most, digits)})`
}

function format(value: number, digits: number): string {
  const fraction = digits === 0 && value < 10 ? 1 : digits
  return value.toLocaleString(locale, { minimumFractionDigits: fraction, maximumFractionDigits: fraction })
}
