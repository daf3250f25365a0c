import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { standards } from '../test/rfc/clauses/index.js'
import { describeConformance, findFaults, readResults } from './clause-results.js'

const report = '.tap/output.tap'
const document = 'docs/conformance.md'

/**
 * Writes docs/conformance.md from the list of clauses and the results of the last whole `npm test`. With --check it compares
 * instead, and fails on drift, on a clause without a test and on a test without a clause.
 */
if (!existsSync(report)) {
  console.error(`${report} is not there: run "npm test" first`)
  process.exitCode = 1
} else {
  const results = readResults(readFileSync(report, 'utf8'))
  const faults = [...findFaults(standards, results)]
  const text = describeConformance(standards, results)
  if (!process.argv.includes('--check')) writeFileSync(document, text)
  else if (!existsSync(document) || readFileSync(document, 'utf8') !== text) {
    faults.push(`${document} differs from the results: run "npm test && npm run conformance" and commit the result`)
  }
  for (const fault of faults) console.error(fault)
  if (faults.length > 0) process.exitCode = 1
}
