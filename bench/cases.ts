import { answer, booked, refusal } from './answers.js'
import {
  barePost,
  bareQuery,
  bareQueryVerify,
  bareSingleQuery,
  bareStatic,
  type Candidate,
  haproxy,
  makeStepgate,
  peers,
  stepgate,
} from './candidates.js'
import { dpopCase } from './dpop.js'
import { exchange } from './load.js'
import { type BenchCase, type Entrant, type RunOptions, repeatedCase } from './load-case.js'
import { memoryCase } from './memory.js'
import type { BenchAlgorithm } from './mint.js'
import type { Goal } from './results.js'
import { startUpCase } from './start-up.js'
import { transfersCase } from './transfers.js'
import { audience, longLived, readAccounts, type World } from './world.js'

/** More than the server remembers, in order: an LRU has always just forgotten the one that comes next. */
const coldTokens = ({ quick }: RunOptions) => (quick ? 12_000 : 30_000)
const cachedTokens = 10_000

const ofBaseline = (baseline: string, goal: number, stretch: number): Goal => {
  return { candidate: stepgate.name, figure: 'requests/s', baseline, bound: 'least', goal, stretch }
}

const reading = ({ accounts }: World, baseline?: string) => {
  return { expected: answer(accounts), ...(baseline === undefined ? {} : { baseline }) }
}

function hotCase(): BenchCase {
  return repeatedCase({
    name: 'hot',
    title: 'GET /accounts, one RS256 token, again and again, verified before',
    notes: [
      'stepgate and fastify-jwt-jwks with cache: true remember that they verified the token; the others verify it each time',
    ],
    algorithm: 'RS256',
    entrants: (world) => [
      { candidate: stepgate, ...reading(world, bareQuery.name) },
      { candidate: bareStatic, ...reading(world) },
      { candidate: bareQuery, ...reading(world, bareStatic.name) },
      { candidate: bareSingleQuery, ...reading(world, bareStatic.name) },
      { candidate: bareQueryVerify, ...reading(world, bareQuery.name) },
      ...peers.map((candidate) => ({ candidate, ...reading(world, bareQuery.name) })),
      { candidate: haproxy, ...reading(world, bareStatic.name) },
    ],
    requests: async (world) => (await world.tokens(1)).map((token) => readAccounts(token)),
    goals: [ofBaseline(bareQuery.name, 0.9, 0.97), ofBaseline(bareStatic.name, 0.43, 0.6)],
  })
}

function poolCase(): BenchCase {
  return repeatedCase({
    name: 'pool',
    title: `GET /accounts, ${cachedTokens} RS256 tokens in turn, all of them seen before`,
    algorithm: 'RS256',
    entrants: (world) => [
      { candidate: stepgate, ...reading(world, bareQuery.name) },
      { candidate: bareQuery, ...reading(world) },
    ],
    eachOnce: true,
    requests: async (world) => (await world.tokens(cachedTokens)).map((token) => readAccounts(token)),
    goals: [ofBaseline(bareQuery.name, 0.85, 0.93)],
  })
}

function coldCase(algorithm: BenchAlgorithm, [goal, stretch]: [number, number]): BenchCase {
  return repeatedCase({
    name: `cold-${algorithm.toLowerCase()}`,
    title: `GET /accounts, ${algorithm} tokens that are not in the cache`,
    notes: ['12,000 (--quick) or 30,000 tokens in order, so that the cache of 10,000 never has the next one'],
    algorithm,
    quickNotes: algorithm === 'RS256' ? ['left out by --quick: what others use to verify tokens'] : [],
    entrants: (world, { quick }) => [
      { candidate: stepgate, ...reading(world, bareQueryVerify.name) },
      { candidate: bareQueryVerify, ...reading(world) },
      ...(quick || algorithm !== 'RS256' ? [] : peers).map((candidate) => {
        return { candidate, ...reading(world, bareQueryVerify.name) }
      }),
    ],
    requests: async (world, options) => (await world.tokens(coldTokens(options))).map((token) => readAccounts(token)),
    goals: [ofBaseline(bareQueryVerify.name, goal, stretch)],
  })
}

function workersCase(): BenchCase {
  const one = makeStepgate('stepgate, WORKERS=1', { WORKERS: '1' })
  const two = makeStepgate('stepgate, WORKERS=2', { WORKERS: '2' })
  return repeatedCase({
    name: 'workers',
    title: 'GET /accounts, ES256 tokens that are not in the cache, one and two processes',
    notes: [
      'nothing is pinned: server and load share all cores, and on two cores the load takes from what a worker could use',
    ],
    algorithm: 'ES256',
    shareCores: true,
    entrants: (world) => [
      { candidate: two, ...reading(world, one.name) },
      { candidate: one, ...reading(world) },
    ],
    // Each worker has a cache of its own.
    requests: async (world, options) =>
      (await world.tokens(2 * coldTokens(options))).map((token) => readAccounts(token)),
    goals: [{ candidate: two.name, figure: 'requests/s', baseline: one.name, bound: 'least', goal: 1.6, stretch: 1.9 }],
  })
}

/** POST /transfers of stepgate, which refuses, beside a bare route, which answers 201. */
const posting = (candidate: Candidate, expected: Entrant['expected']) => (): Entrant[] => [
  { candidate, expected, baseline: barePost.name },
  { candidate: barePost, expected: booked },
]

const repeatedNote = 'one request, again and again: stepgate has verified its token before, and remembers that'

function stepUpCase(): BenchCase {
  return repeatedCase({
    name: 'step-up',
    title: 'POST /transfers with a token that may only read: 403 with the step-up challenge',
    notes: [repeatedNote],
    algorithm: 'RS256',
    entrants: posting(stepgate, refusal(403, 'insufficient_scope', 'Multi-factor authentication is required')),
    requests: ({ bank }) => bank.order(audience, 1, { scope: 'read:accounts', claims: longLived() }),
    goals: [ofBaseline(barePost.name, 1, 1.05)],
  })
}

function replayCase(): BenchCase {
  // The token must not expire while it is measured.
  const lenient = makeStepgate(stepgate.name, { SINGLE_USE_MAX_LIFETIME: '86400' })
  return repeatedCase({
    name: 'replay',
    title: 'POST /transfers with a transfer token that was used: 401',
    notes: [repeatedNote, 'with SINGLE_USE_MAX_LIFETIME=86400, so that the token lasts'],
    algorithm: 'RS256',
    entrants: posting(lenient, refusal(401, 'invalid_token', 'already used')),
    requests: ({ bank }) => bank.order(audience, 1, { claims: longLived() }),
    before: async (running, [request]) => {
      const { port } = running.find(({ candidate }) => candidate === lenient) as { port: number }
      const first = await exchange(port, request as Buffer)
      if (!first.startsWith('HTTP/1.1 201 ')) throw new Error(`the first use of the token failed: ${first}`)
    },
    goals: [ofBaseline(barePost.name, 0.95, 1.05)],
  })
}

/** Every case, in the order in which they run. */
export const benchCases: readonly BenchCase[] = [
  hotCase(),
  poolCase(),
  coldCase('RS256', [0.85, 0.95]),
  coldCase('ES256', [0.92, 0.98]),
  coldCase('EdDSA', [0.92, 0.98]),
  workersCase(),
  stepUpCase(),
  replayCase(),
  transfersCase('sqlite', [9000, 12_000]),
  transfersCase('postgresql', [5000, 7500]),
  dpopCase(),
  memoryCase,
  startUpCase,
]
