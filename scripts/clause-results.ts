import type { Clause, Standard } from '../test/rfc/clauses/clause.js'

/** What the tests say of a clause. A test that was skipped says nothing. */
export type Result = 'holds' | 'does not hold' | 'not covered'

const testLine = /^ *(not )?ok \d+ - ((?:\d{4}|ASVS)-\d+(?:\.\d+)*(?:-\d+)?) \((.*)$/
const directive = / # (?:SKIP|TODO)\b/i

/** The results of all tests in a TAP report whose title has the form `id (clause): what holds`, by id. */
export function readResults(tap: string): ReadonlyMap<string, readonly Result[]> {
  const results = new Map<string, Result[]>()
  for (const line of tap.split('\n')) {
    const [, failed, id, rest] = testLine.exec(line) ?? []
    if (id === undefined || rest === undefined) continue
    const result = directive.test(rest) ? 'not covered' : failed === undefined ? 'holds' : 'does not hold'
    results.set(id, [...(results.get(id) ?? []), result])
  }
  return results
}

/** What is wrong with the list, or with the titles of the tests held against it; one sentence each. */
export function findFaults(
  standards: readonly Standard[],
  results: ReadonlyMap<string, readonly Result[]>,
): readonly string[] {
  const clauses = standards.flatMap((standard) => standard.clauses)
  const listed = new Map(clauses.map((clause) => [clause.id, clause]))
  const faults = [...listed.keys()]
    .filter((id) => clauses.filter((clause) => clause.id === id).length > 1)
    .map((id) => `${id} is listed more than once`)
  for (const [id, { length }] of results) {
    const clause = listed.get(id)
    if (clause === undefined) faults.push(`${id} starts the title of a test, and is not listed`)
    else if (clause.doesNotApply !== undefined) faults.push(`${id} has a test, and is listed as not applying`)
    if (length > 1) faults.push(`${id} starts the titles of ${length} tests: keep one`)
  }
  for (const clause of listed.values()) {
    if (resultOf(clause, results) === 'not covered') faults.push(`${clause.id} applies, and no test covers it`)
  }
  return faults
}

/** The conformance document. Depends on nothing but the list and the results. */
export function describeConformance(
  standards: readonly Standard[],
  results: ReadonlyMap<string, readonly Result[]>,
): string {
  const columns = ['holds', 'does not hold', 'not covered', 'does not apply'] as const
  const count = (clauses: readonly Clause[]): string =>
    columns.map((column) => clauses.filter((clause) => resultOf(clause, results) === column).length).join(' | ')
  const summary = standards.map(({ name, clauses }) => `| [${name}](#${anchorOf(name)}) | ${count(clauses)} |`)
  const sections = standards.map(({ name, title, address, leftOut, clauses }) => {
    const rows = clauses.map((clause) => {
      const { id, level, sentence, doesNotApply } = clause
      const result = resultOf(clause, results) + (doesNotApply === undefined ? '' : `: ${doesNotApply}`)
      return `| ${id} | ${level === 'none' ? '' : level} | ${cell(sentence)} | ${cell(result)} |`
    })
    const scope = leftOut === undefined ? '' : ` Not listed: ${leftOut}`
    return `## ${name}\n\n[${title}](${address}).${scope}\n\n| Clause | Level | Sentence | Result |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`
  })
  const all = standards.flatMap(({ clauses }) => clauses)
  return `# Conformance

Generated from the clauses in \`test/rfc/clauses\` and the results of the last \`npm test\` by \`npm run conformance\`.

Listed is every sentence with MUST, SHOULD or one of their synonyms that falls on a resource server, with its neighbours that
fall on others, and some sentences without such a word that say what goes over the wire. The number between the dashes is the
section. A clause **holds** when the test whose title starts with its id passed.

| Standard | ${columns.join(' | ')} |
| --- | ---: | ---: | ---: | ---: |
${summary.join('\n')}
| **all** | ${count(all)} |

${sections.join('\n')}`
}

function resultOf(
  { id, doesNotApply }: Clause,
  results: ReadonlyMap<string, readonly Result[]>,
): Result | 'does not apply' {
  if (doesNotApply !== undefined) return 'does not apply'
  const [result = 'not covered', ...others] = results.get(id) ?? []
  return others.includes('does not hold') ? 'does not hold' : result
}

/** As GitHub makes it from a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<')
}
