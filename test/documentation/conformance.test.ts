import t from 'tap'
import { describeConformance, findFaults, readResults } from '../../scripts/clause-results.js'
import type { Standard } from '../rfc/clauses/clause.js'
import { standards } from '../rfc/clauses/index.js'

const standard: Standard = {
  name: 'RFC 1',
  title: 'Host Software',
  address: 'https://www.rfc-editor.org/rfc/rfc1',
  clauses: [
    { id: '0001-1-1', level: 'MUST', sentence: 'A server MUST <listen> | speak.' },
    { id: '0001-1-2', level: 'none', sentence: 'It listens.' },
    { id: '0001-2-1', level: 'SHOULD', sentence: 'A client SHOULD speak.', doesNotApply: 'falls on the client' },
  ],
}

const report = `TAP version 14
# Subtest: a file
    # Subtest: 0001-1-1 (RFC 1 §1): listens
        ok 1 - should be equal
        1..1
    ok 1 - 0001-1-1 (RFC 1 §1): listens # time=1.2ms
    not ok 2 - 0001-1-2 (RFC 1 §1): really # time=1.2ms
    ok 3 - 2026-11 is no clause # time=1ms
    1..3
not ok 1 - a file
`

t.test('results are read from titles, at any depth', async (t) => {
  t.strictSame(
    [...readResults(report)],
    [
      ['0001-1-1', ['holds']],
      ['0001-1-2', ['does not hold']],
    ],
  )
  t.strictSame(readResults('    ok 1 - ASVS-9.1.1 (x): y # SKIP no service').get('ASVS-9.1.1'), ['not covered'])
})

t.test('list and titles that do not fit together are named', async (t) => {
  t.strictSame(findFaults([standard], readResults(report)), [])
  t.strictSame(findFaults([standard], new Map()), [
    '0001-1-1 applies, and no test covers it',
    '0001-1-2 applies, and no test covers it',
  ])
  const odd = `${report}ok - 1 - x\nok 4 - 0001-2-1 (x): y\nok 5 - 0001-9-1 (x): y\nok 6 - 0001-1-1 (x): y\n`
  t.strictSame(findFaults([standard, standard], readResults(odd)), [
    '0001-1-1 is listed more than once',
    '0001-1-2 is listed more than once',
    '0001-2-1 is listed more than once',
    '0001-1-1 starts the titles of 2 tests: keep one',
    '0001-2-1 has a test, and is listed as not applying',
    '0001-9-1 starts the title of a test, and is not listed',
  ])
})

t.test('the document has a row a clause and counts them', async (t) => {
  const text = describeConformance([standard], readResults(report))
  t.match(text, '| [RFC 1](#rfc-1) | 1 | 1 | 0 | 1 |')
  t.match(text, '| 0001-1-1 | MUST | A server MUST \\<listen> \\| speak. | holds |')
  t.match(text, '| 0001-1-2 |  | It listens. | does not hold |')
  t.match(text, '| 0001-2-1 | SHOULD | A client SHOULD speak. | does not apply: falls on the client |')
  const twice = readResults(`${report}    not ok 3 - 0001-1-1 (RFC 1 §1): again\n`)
  t.match(describeConformance([standard], twice), 'speak. | does not hold |', 'one failure is enough')
})

t.test('every clause has an id of its standard, and a sentence with the word of its level', async (t) => {
  for (const { name, clauses } of standards) {
    const prefix = name.includes('ASVS') ? 'ASVS' : name.replace('RFC ', '')
    for (const { id, level, sentence } of clauses) {
      t.ok(id.startsWith(`${prefix}-`), id)
      if (!/^(?:none|L\d)$/.test(level) && !/^9449-4\.3-/.test(id)) t.match(sentence, level, id)
    }
  }
})
