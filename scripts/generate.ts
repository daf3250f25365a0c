import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp, JwksKeySource, LruReplayStore, problems, readConfig, SqliteLedger, systemClock } from 'stepgate'
import { drawChart } from '../bench/chart.js'
import { fillFigures } from '../bench/page.js'

const challenges = {
  bare: 'a challenge without scope',
  scope: "a challenge with the route's scope",
  'step-up': 'a challenge with scope, acr_values and max_age',
}

const heading = `# Refusals

Generated from the table in \`src/core/problems.ts\` by \`npm run generate\`.

Every refusal is \`application/problem+json\` (RFC 9457) with a fixed title and detail; its \`type\` is
\`<PUBLIC_URL>/problems/<name>\`, an address that answers with the same explanation. Where there is a challenge, it stands in
\`WWW-Authenticate\` and, as extension members, in the body.
`

/**
 * Writes what is made from something else: openapi.yaml from the routes, docs/errors.md from the table of problems, and the
 * figures of docs/performance.md with their chart from what "npm run bench -- --save" wrote. With --check it compares instead,
 * and fails on drift. None depends on the configuration.
 */
const performance = JSON.parse(readFileSync('docs/performance.json', 'utf8'))
const generated = {
  'openapi.yaml': await describeRoutes(),
  'docs/errors.md': describeProblems(),
  'docs/performance.md': fillFigures(readFileSync('docs/performance.md', 'utf8'), performance),
  'docs/performance.svg': drawChart(performance),
}
for (const [path, text] of Object.entries(generated)) {
  if (!process.argv.includes('--check')) {
    writeFileSync(path, text)
  } else if (readFileSync(path, 'utf8') !== text) {
    console.error(`${path} differs from the code: run "npm run generate" and commit the result`)
    process.exitCode = 1
  }
}

async function describeRoutes(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-openapi-'))
  const read = readConfig({ ISSUER: 'http://127.0.0.1:4000', AUDIENCE: 'openapi', DATA_DIR: folder, LOG_LEVEL: 'warn' })
  if ('faults' in read) throw new Error(read.faults.join('; '))
  const { ISSUER: issuer, ALGORITHMS: algorithms } = read.config
  const clock = systemClock
  const ledger = await SqliteLedger.open(folder)
  const keySource = new JwksKeySource({ issuer, jwksUri: undefined, algorithms, clock })
  const replayStore = new LruReplayStore({ maxEntries: 1, clock, whenFull: 'forget' })
  const app = await buildApp(read.config, { clock, ledger, keySource, replayStore })
  const { body } = await app.inject('/openapi.yaml')
  await app.close()
  await ledger.close()
  rmSync(folder, { recursive: true })
  return body
}

function describeProblems(): string {
  const sections = Object.entries(problems).map(([name, problem]) => {
    const { status, title, detail } = problem
    const remedy = problem.remedy.replaceAll('<', '\\<')
    const error = 'error' in problem ? `, \`error="${problem.error}"\`` : ''
    const retry = 'retryAfterSeconds' in problem ? `, \`Retry-After: ${problem.retryAfterSeconds}\`` : ''
    const line = 'dpopOnly' in problem ? ' on the DPoP line alone' : ''
    const challenge = problem.challenge === 'none' ? '' : `, ${challenges[problem.challenge]}${line}`
    return `## ${name}\n\n**${status} ${title}**${error}${challenge}${retry}\n\n${detail}.\n\n*What to do:* ${remedy}\n`
  })
  return `${heading}\n${sections.join('\n')}`
}
