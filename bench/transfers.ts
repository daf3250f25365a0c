import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Bank } from './bank.js'
import { connectionCount, measureLatency, measureThroughput, quantile } from './load.js'
import { acr, startIssuer } from './mint.js'
import { canPin, cpuTimeMs, describeMachine, freePort, pinClient, startPinned, stop, summarise } from './processes.js'

/**
 * Measures transfers, each with a fresh RS256 token, on the built server on one core: how many a second in a closed loop, and
 * the latency at a fixed rate of 70 % of that. In turn with it, two baselines get the same requests: a bare Fastify route that
 * answers a fixed 201, and one that verifies the signature besides. Every answer must be 201, and the books must agree with
 * what was acknowledged. The ledger is SQLite in `.build`; `DATABASE_URL`, `REDIS_URL` and `LOG_LEVEL` are passed on.
 */
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '6' },
    accounts: { type: 'string', default: '1000' },
  },
})
const rounds = values.quick ? 1 : Number(values.rounds)
const seconds = values.quick ? 2 : Number(values.seconds)
const requestsPerRound = seconds * 7000
const warmUp = 2000
/** So many requests each server gets first of all, for V8 to compile what is hot. */
const firstWarmUp = 12_000
const expected = 'HTTP/1.1 201 '

const issuer = await startIssuer()
const bank = new Bank(issuer, Number(values.accounts))
const folder = mkdtempSync(join('.build', 'bench-'))
writeFileSync(join(folder, 'accounts.json'), bank.accountsFile)

const ports = { server: await freePort(), bare: await freePort(), verifying: await freePort() }
const url = `http://127.0.0.1:${ports.server}`
const passedOn = ['DATABASE_URL', 'REDIS_URL', 'LOG_LEVEL'].filter((name) => process.env[name] !== undefined)
const environment = {
  PORT: String(ports.server),
  ISSUER: issuer.url,
  AUDIENCE: url,
  STEP_UP_ACR_VALUES: acr,
  DATA_DIR: join(folder, 'data'),
  ACCOUNTS_FILE: join(folder, 'accounts.json'),
  ...Object.fromEntries(passedOn.map((name) => [name, process.env[name] as string])),
}
const baseline = '.build/bench/baseline.js'
const verifyingEnvironment = { PORT: String(ports.verifying), VERIFY_KEY: issuer.publicKeyPem }
const servers = {
  server: await startPinned('dist/server.js', environment, '/readyz'),
  bare: await startPinned(baseline, { PORT: String(ports.bare) }, '/livez'),
  verifying: await startPinned(baseline, verifyingEnvironment, '/livez'),
}

try {
  // Signing starts the threads that sign, which then stay on every core.
  const first = await bank.order(url, firstWarmUp)
  pinClient()
  for (const port of Object.values(ports)) await measureThroughput({ port, requests: first, warmUp: 1, expected })
  const throughput = await measureInTurn()
  const reached = throughput.map(({ server }) => server.perSecond)
  const perSecond = Math.floor(0.7 * quantile(reached, 0.5))
  const latency = await measureLatencies(perSecond)
  const transfers = await bank.check(url, url)

  console.log(describeMachine() + (canPin ? ', servers pinned to core 0 and load to core 1' : ', nothing pinned'))
  console.log(
    `${connectionCount} keep-alive connections, RS256, a fresh token each${passedOn.map((name) => `, ${name}`)}`,
  )
  for (const [name, words] of [
    ['server', 'transfers'],
    ['bare', 'bare Fastify, same body'],
    ['verifying', 'the same and one RS256 verification'],
  ] as const) {
    const perSecond = throughput.map((round) => round[name].perSecond)
    const cpuMicros = throughput.map((round) => round[name].cpuMicros)
    const share = throughput.map((round) => round.server.perSecond / round[name].perSecond)
    console.log(`${words}: ${summarise('/s', perSecond)}; processor time each: ${summarise('µs', cpuMicros)}`)
    if (name !== 'server') console.log(`  transfers reach ${summarise('of it', share, 2)}`)
  }
  for (const [name, part] of [
    ['p50', 0.5],
    ['p99', 0.99],
    ['slowest', 1],
  ] as const) {
    const found = latency.map((latenciesMs) => quantile(latenciesMs, part))
    console.log(`latency at ${perSecond}/s, ${name}: ${summarise('ms', found, 1)}`)
  }
  console.log(`books: ${transfers} transfers, each acknowledged; balances and number of postings are as they should`)
} finally {
  await Promise.all(Object.values(servers).map(stop))
  issuer.close()
  rmSync(folder, { recursive: true })
}

async function measureInTurn() {
  const measure = async (name: keyof typeof servers, requests: readonly Buffer[]) => {
    const beforeMs = cpuTimeMs(servers[name])
    const perSecond = await measureThroughput({ port: ports[name], requests, warmUp, expected })
    return { perSecond, cpuMicros: ((cpuTimeMs(servers[name]) - beforeMs) * 1000) / requests.length }
  }
  const found = []
  for (let round = 0; round < rounds; round += 1) {
    const requests = await bank.order(url, requestsPerRound)
    found.push({
      server: await measure('server', requests),
      bare: await measure('bare', requests),
      verifying: await measure('verifying', requests),
    })
  }
  return found
}

async function measureLatencies(perSecond: number): Promise<number[][]> {
  const found: number[][] = []
  for (let round = 0; round < rounds; round += 1) {
    const requests = await bank.order(url, perSecond * seconds + warmUp)
    found.push(await measureLatency({ port: ports.server, requests, warmUp, expected, perSecond }))
  }
  return found
}
