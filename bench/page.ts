import { describeGoal, describeRun, tableOf } from './report.js'
import type { CaseResult, Results } from './results.js'

const begin = '<!-- Figures: made from performance.json by "npm run generate". -->'
const end = '<!-- End of the figures. -->'
/** The fewest rounds whose median means something. */
const leastRounds = 3

/** The page with the figures of a run between its two comments. Throws when it lacks them. */
export function fillFigures(page: string, results: Results): string {
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error('the page lacks the comments around the figures')
  const caution =
    results.rounds < leastRounds ? ' So short a run shows the form; its figures are not to be relied on.' : ''
  const sections = [`${describeRun(results)}.${caution}`, ...results.cases.map(describeCase)]
  return `${before}${begin}\n\n${sections.join('\n\n')}\n\n${end}${after}`
}

function describeCase(result: CaseResult): string {
  const [head = [], ...rows] = tableOf(result)
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  const remarks = [...result.goals.map((goal) => `Goal: ${describeGoal(result, goal)}`), ...result.notes]
  return [`### ${result.title}`, lines.join('\n'), remarks.map((remark) => `- ${remark}`).join('\n')]
    .filter((part) => part !== '')
    .join('\n\n')
}
