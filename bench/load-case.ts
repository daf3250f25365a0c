import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { type Asked, checkAnswers, type Expectation, isExpected } from './answers.js'
import { type Candidate, commonEnvironment } from './candidates.js'
import { measureThroughput } from './load.js'
import type { BenchAlgorithm } from './mint.js'
import {
  answers,
  askDeadlineMs,
  canPin,
  cpuTimeMs,
  everyCore,
  freePort,
  onCores,
  pinClient,
  startServer,
  stop,
  unpinClient,
} from './processes.js'
import { runRepeated, writeRequests } from './repeated-load.js'
import type { CaseResult, Goal } from './results.js'
import { World } from './world.js'

/** How long and how often; all cases of a run share it. */
export interface RunOptions {
  rounds: number
  /** Of one measurement; a whole number. */
  seconds: number
  quick: boolean
  /** Worlds by algorithm, made when a case first asks and closed at the end of the run. */
  world: (algorithm: BenchAlgorithm) => Promise<World>
}

/** A case that can be asked for by its name. */
export interface BenchCase {
  name: string
  run: (options: RunOptions) => Promise<CaseResult>
}

/** A candidate in a case. */
export interface Entrant {
  candidate: Candidate
  expected: Expectation
  /** Whom its ratio is to. */
  baseline?: string
}

export interface Running extends Entrant {
  name: string
  process: ChildProcess
  port: number
  world: World
}

export interface LoadCase {
  name: string
  title: string
  notes?: string[]
  /** Further ones for a run with --quick. */
  quickNotes?: string[]
  algorithm: BenchAlgorithm
  entrants: (world: World, options: RunOptions) => Entrant[]
  /** Whether servers and load run on every core, rather than on one each. */
  shareCores?: boolean
  /** Whether it moves money, and so needs a bank that no other case knows. */
  ownWorld?: boolean
  goals: Goal[]
}

/** The part of its core below which a server was not the limit. */
const leastShare = 0.9

/** The fewest requests that a candidate gets before it is measured, for V8 to compile what is hot. */
export function leastWarmUp({ quick }: RunOptions): number {
  return quick ? 2000 : 12_000
}

/**
 * A case whose requests may be sent again and again: in order, over and over, for a number of seconds. With `eachOnce` every one of
 * them is sent before anything is measured. `before` runs once all candidates are up.
 */
export function repeatedCase(
  definition: LoadCase & {
    requests: (world: World, options: RunOptions) => Promise<Buffer[]>
    eachOnce?: boolean
    before?: (running: readonly Running[], requests: readonly Buffer[]) => Promise<void>
  },
): BenchCase {
  return makeCase(definition, async ({ running, world, options }) => {
    const requests = await definition.requests(world, options)
    const warmUp = Math.max(leastWarmUp(options), definition.eachOnce === true ? requests.length : 0)
    const first = Array.from({ length: warmUp }, (_, index) => requests[index % requests.length] as Buffer)
    const file = join(world.folder, `${definition.name}.requests`)
    writeRequests(file, requests)
    await definition.before?.(running, requests)
    const check = (server: Running) => checkAnswers(askedOf(server), requests[0] as Buffer, server.expected)
    for (const server of running) {
      await check(server)
      await warmUpWith(first, server)
    }
    // An LRU must not meet again what it has just seen, so each goes on where it was.
    const positions = new Map(running.map(({ name }) => [name, warmUp]))
    return {
      measure: async (server) => {
        const { name, process, port, expected } = server
        const load = { port, file, expectedStatus: expected.status, shareCores: definition.shareCores === true }
        const send = (seconds: number) => runRepeated({ ...load, seconds, first: positions.get(name) as number })
        const goOn = async (seconds: number) => {
          const result = await withName(name, send(seconds))
          positions.set(name, result.next)
          return result
        }
        if (!options.quick) await goOn(1)
        const beforeMs = cpuTimeMs(process)
        const { answered, seconds } = await goOn(options.seconds)
        const cpuMicros = ((cpuTimeMs(process) - beforeMs) * 1000) / answered
        await check(server)
        return { perSecond: answered / seconds, cpuMicros }
      },
    }
  })
}

/**
 * A case whose requests can be sent only once: new ones for every round, which every candidate gets. The load is a closed loop
 * in this process, on core 1. `perSecond` is a guess at how many are needed. `after` runs while all candidates are up.
 */
export function freshCase(
  definition: LoadCase & {
    requests: (world: World, count: number) => Promise<Buffer[]>
    perSecond: number
    /** Whether each candidate gets new ones, because they would be too old for the last. */
    newForEach?: boolean
    after?: (running: readonly Running[], result: CaseResult, options: RunOptions) => Promise<void>
  },
): BenchCase {
  return makeCase(definition, async ({ running, world, options }) => {
    const warmUp = options.quick ? 500 : 2000
    // Made before this thread is pinned: the threads that sign stay on every core.
    const [request, ...first] = (await definition.requests(world, leastWarmUp(options) + 1)) as [Buffer, ...Buffer[]]
    for (const server of running) {
      await checkAnswers(askedOf(server), request, server.expected)
      await warmUpWith(first, server)
    }
    let requests: Buffer[] = []
    const renew = async () => {
      requests = await definition.requests(world, definition.perSecond * options.seconds + warmUp)
    }
    return {
      ...(definition.newForEach ? {} : { beginRound: renew }),
      measure: async ({ name, process, port, expected }) => {
        if (definition.newForEach) await renew()
        const beforeMs = cpuTimeMs(process)
        pinClient()
        const send = measureThroughput({ port, requests, warmUp, expected: statusLine(expected) })
        const perSecond = await withName(name, send).finally(unpinClient)
        return { perSecond, cpuMicros: ((cpuTimeMs(process) - beforeMs) * 1000) / requests.length }
      },
      after: async (result) => definition.after?.(running, result, options),
    }
  })
}

type LoadFigures = Record<'requests/s' | 'µs of processor time each', number[]>

interface Method {
  beginRound?: () => Promise<void>
  measure: (server: Running) => Promise<{ perSecond: number; cpuMicros: number }>
  after?: (result: CaseResult) => Promise<void>
}

/** Starts the entrants, measures each of them once a round, in rotating order, and stops them. */
function makeCase(
  {
    name,
    title,
    notes = [],
    quickNotes = [],
    algorithm,
    entrants,
    shareCores = false,
    ownWorld = false,
    goals,
  }: LoadCase,
  prepare: (parts: { running: Running[]; world: World; options: RunOptions }) => Promise<Method>,
): BenchCase {
  async function run(options: RunOptions): Promise<CaseResult> {
    const world = ownWorld ? await World.create(algorithm) : await options.world(algorithm)
    const running: Running[] = []
    try {
      const [present, absent] = choosePresent(entrants(world, options))
      for (const entrant of present) running.push(await startEntrant(entrant, world, shareCores ? everyCore : '0'))
      const { beginRound, measure, after } = await prepare({ running, world, options })
      const measured = running.map(({ name, baseline }) => {
        const figures: LoadFigures = { 'requests/s': [], 'µs of processor time each': [] }
        return { name, figures, ...(baseline === undefined ? {} : { baseline }) }
      })
      for (let round = 0; round < options.rounds; round += 1) {
        await beginRound?.()
        for (let turn = 0; turn < running.length; turn += 1) {
          const index = (round + turn) % running.length
          const { perSecond, cpuMicros } = await measure(running[index] as Running)
          measured[index]?.figures['requests/s'].push(perSecond)
          measured[index]?.figures['µs of processor time each'].push(cpuMicros)
        }
      }
      const idle = shareCores || !canPin ? [] : idleNotes(measured)
      const allNotes = [...notes, ...(options.quick ? quickNotes : []), ...absent, ...idle]
      const result = { name, title, notes: allNotes, measured, goals }
      await after?.(result)
      return result
    } finally {
      await Promise.all(running.map(({ process }) => stop(process)))
      if (ownWorld) world.close()
    }
  }
  return { name, run }
}

/** Says whose figures the load limits, or the disk: who left more than a tenth of its core idle in some round. */
function idleNotes(measured: readonly { name: string; figures: LoadFigures }[]): string[] {
  return measured.flatMap(({ name, figures }) => {
    const shares = figures['requests/s'].map((perSecond, round) => {
      return (perSecond * (figures['µs of processor time each'][round] as number)) / 1e6
    })
    return Math.min(...shares) < leastShare
      ? [
          `${name} left a part of its core idle: in the rounds it used ${shares.map((share) => share.toFixed(2)).join(', ')} of it`,
        ]
      : []
  })
}

/** Splits off who cannot run here, in words. With CI=true that is an error: there everybody must be measured. */
function choosePresent(entrants: readonly Entrant[]): [Entrant[], string[]] {
  const absent = entrants.flatMap(({ candidate: { name, lacks } }) => {
    const remedy = lacks?.()
    return remedy === undefined ? [] : [`MISSING: ${name} (${remedy})`]
  })
  if (absent.length > 0 && process.env['CI'] === 'true') throw new Error(absent.join('\n'))
  return [entrants.filter(({ candidate }) => candidate.lacks?.() === undefined), absent]
}

/** Starts a candidate and resolves once it is ready. */
export async function startEntrant(entrant: Entrant, world: World, cores: string): Promise<Running> {
  const { name, command, environment, readyPath } = entrant.candidate
  const port = await freePort()
  const variables = { ...commonEnvironment(world, port), ...environment?.(world) }
  const url = `http://127.0.0.1:${port}${readyPath ?? '/'}`
  const isReady = () => (readyPath === undefined ? isListening(url) : answers(url))
  return {
    ...entrant,
    name,
    port,
    world,
    process: await startServer(onCores(cores, command(world, port)), variables, isReady),
  }
}

function isListening(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(askDeadlineMs) }).then(
    () => true,
    () => false,
  )
}

function askedOf({ name, port, candidate: { authenticates, forgedDetail } }: Running): Asked {
  return { name, port, authenticates, ...(forgedDetail === undefined ? {} : { forgedDetail }) }
}

/** Sends the requests once, unmeasured, and compares every answer whole. */
async function warmUpWith(requests: readonly Buffer[], { name, port, expected }: Running): Promise<void> {
  const holds = (answer: string) => isExpected(answer, expected)
  await withName(name, measureThroughput({ port, requests, warmUp: 1, expected: statusLine(expected), holds }))
}

function statusLine({ status }: Expectation): string {
  return `HTTP/1.1 ${status} `
}

/** Says of whom an error tells. */
async function withName<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`, { cause: error })
  }
}
