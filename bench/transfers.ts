import { findLastingPort } from '../test/helpers/external-server.js'
import { PostgresServer } from '../test/helpers/postgres-server.js'
import { missingService } from '../test/helpers/services.js'
import { booked } from './answers.js'
import { barePost, barePostVerify, makeStepgate } from './candidates.js'
import { measureLatency, quantile } from './load.js'
import { type BenchCase, freshCase, type Running, type RunOptions } from './load-case.js'
import { pinClient, unpinClient } from './processes.js'
import type { CaseResult, Figure } from './results.js'
import { audience } from './world.js'

type Database = 'sqlite' | 'postgresql'

/** A guess at what the server takes: so many tokens are made for each second of a round. */
const ordersPerSecond = 7000

/**
 * Transfers, each with a fresh RS256 token, beside a bare route that gets the same requests and one that verifies the signature
 * besides. Afterwards the latency at 70 % of the rate reached, and the books must agree with what was acknowledged. PostgreSQL
 * is the one of `DATABASE_URL`, or one that is started for the case. `REDIS_URL` is passed on.
 */
export function transfersCase(database: Database, [goal, stretch]: [number, number]): BenchCase {
  const name = database === 'sqlite' ? 'transfers' : `transfers-${database}`
  const title = `POST /transfers, a fresh RS256 token each: 201, durable in ${database === 'sqlite' ? 'SQLite' : 'PostgreSQL'}`
  const makeCase = (more: Record<string, string>): BenchCase => {
    const stepgate = makeStepgate('stepgate', { ...more, ...passedOn('REDIS_URL') })
    return freshCase({
      name,
      title,
      notes: Object.keys(passedOn('REDIS_URL')).map((variable) => `with ${variable}`),
      algorithm: 'RS256',
      ownWorld: true,
      entrants: () => [
        { candidate: stepgate, expected: booked, baseline: barePostVerify.name },
        { candidate: barePost, expected: booked },
        { candidate: barePostVerify, expected: booked, baseline: barePost.name },
      ],
      perSecond: ordersPerSecond,
      requests: ({ bank }, count) => bank.order(audience, count),
      after: finish,
      goals: [{ candidate: stepgate.name, figure: 'requests/s', bound: 'least', goal, stretch }],
    })
  }
  if (database === 'sqlite') return makeCase({})
  return {
    name,
    run: async (options) => {
      const given = passedOn('DATABASE_URL')
      if (given['DATABASE_URL'] !== undefined) return makeCase(given).run(options)
      const missing = missingService('postgresql')
      if (missing !== false) return { name, title, notes: [`MISSING: ${missing}`], measured: [], goals: [] }
      const server = new PostgresServer(await findLastingPort(), {})
      try {
        await server.initialise()
        await server.start()
        return await makeCase({ DATABASE_URL: await server.createDatabase() }).run(options)
      } finally {
        await server.remove()
      }
    },
  }
}

function passedOn(name: string): Record<string, string> {
  const value = process.env[name]
  return value === undefined ? {} : { [name]: value }
}

/** Adds the latency to the result, and throws unless the books are right. */
async function finish(running: readonly Running[], result: CaseResult, options: RunOptions): Promise<void> {
  const [{ port, world }] = running as [Running]
  if (!options.quick) {
    const figures = result.measured[0]?.figures as Partial<Record<Figure, number[]>>
    const perSecond = Math.floor(0.7 * quantile(figures['requests/s'] as number[], 0.5))
    const warmUp = 2000
    for (let round = 0; round < options.rounds; round += 1) {
      const requests = await world.bank.order(audience, perSecond * options.seconds + warmUp)
      pinClient()
      const load = { port, requests, warmUp, expected: 'HTTP/1.1 201 ', perSecond }
      const latenciesMs = await measureLatency(load).finally(unpinClient)
      for (const [figure, part] of [
        ['p50, ms', 0.5],
        ['p99, ms', 0.99],
      ] as const) {
        figures[figure] = [...(figures[figure] ?? []), quantile(latenciesMs, part)]
      }
    }
    result.notes.push(`latency at ${perSecond} a second, from when each was due`)
  }
  const transfers = await world.bank.check(`http://127.0.0.1:${port}`, audience)
  result.notes.push(`the books hold the ${transfers} transfers that were acknowledged, and balance`)
}
