import { quantile } from './load.js'

/** What is measured, with its unit: a name for each column of a table. */
export type Figure =
  | 'requests/s'
  | 'µs of processor time each'
  | 'p50, ms'
  | 'p99, ms'
  | 'start, ms'
  | 'resident, MB'
  | 'peak, MB'

/** One candidate of a case. */
export interface Measured {
  name: string
  /** Whom its ratio is to: the candidate that does the same without what is measured. */
  baseline?: string
  /** A value for every round. */
  figures: Partial<Record<Figure, number[]>>
}

/** What is aimed at: a figure of a candidate, or its ratio to the same figure of a baseline. */
export interface Goal {
  candidate: string
  figure: Figure
  baseline?: string
  /** `least`: reached from there up. `most`: from there down. */
  bound: 'least' | 'most'
  goal: number
  stretch: number
}

export interface CaseResult {
  name: string
  title: string
  /** Whatever must be known to read the figures. */
  notes: string[]
  measured: Measured[]
  goals: Goal[]
}

/** A whole run, as it is written to a file. */
export interface Results {
  measuredAt: string
  machine: string
  load: string
  rounds: number
  seconds: number
  cases: CaseResult[]
}

export interface Spread {
  median: number
  least: number
  most: number
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: quantile(values, 0.5), least: Math.min(...values), most: Math.max(...values) }
}

/** A candidate's figure divided by another's, round by round; undefined when either was not measured. */
export function ratiosOf(
  { measured }: Pick<CaseResult, 'measured'>,
  { candidate, baseline, figure }: { candidate: string; baseline: string; figure: Figure },
): number[] | undefined {
  const [above, below] = [candidate, baseline].map(
    (wanted) => measured.find(({ name }) => name === wanted)?.figures[figure],
  )
  if (above === undefined || below === undefined) return undefined
  return above.map((value, round) => value / (below[round] as number))
}

/** What a goal is about, round by round, and whether the median reaches it; undefined when it was not measured. */
export function judge(
  result: Pick<CaseResult, 'measured'>,
  goal: Goal,
): { spread: Spread; verdict: 'stretch' | 'reached' | 'missed' } | undefined {
  const { candidate, baseline, figure, bound } = goal
  const values =
    baseline === undefined
      ? result.measured.find(({ name }) => name === candidate)?.figures[figure]
      : ratiosOf(result, { candidate, baseline, figure })
  if (values === undefined) return undefined
  const spread = spreadOf(values)
  const reaches = (limit: number) => (bound === 'least' ? spread.median >= limit : spread.median <= limit)
  return { spread, verdict: reaches(goal.stretch) ? 'stretch' : reaches(goal.goal) ? 'reached' : 'missed' }
}
