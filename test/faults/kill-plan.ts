import { createHash } from 'node:crypto'
import { Random } from '../simulation/random.js'
import { isRelease, type KillPointName } from './kill-points.js'

/** One transfer that a client means to make, and how it goes about it. */
export interface TransferPlan {
  /** Whether it brings an Idempotency-Key. */
  keyed: boolean
  /** Whether it asks for more than there is, and so is decided without moving money. */
  declined: boolean
  /** Whether the same request is sent over two connections at once. */
  raced: boolean
  /** Whether it is sent again once it was answered: with its key and a fresh token, or with the spent token. */
  repeated: boolean
  debtor: 'alice' | 'bob'
  cents: number
  /** What a client that brings a key does after the kill. */
  recovery: 'same-token' | 'fresh-token' | 'both-at-once'
}

export interface RoundPlan {
  index: number
  point: KillPointName
  /** Which passing of the point kills. */
  passing: number
  /** After how much load the parent kills, at the points that are its own. */
  delayMs: number
  /** How long a start may take that is killed itself. */
  startDelayMs: number
  connections: number
  transfers: TransferPlan[]
}

/** What happens in a round, and the same for the same seed and index always. Each point comes once in as many rounds as there are points. */
export function planRound(seed: number, index: number, points: readonly KillPointName[]): RoundPlan {
  const cycle = randomNumbers(seed, `cycle ${Math.floor(index / points.length)}`)
  const order = points.map((point) => ({ point, rank: cycle() })).sort((one, other) => one.rank - other.rank)
  const { point } = order[index % points.length] as { point: KillPointName }
  const random = randomNumbers(seed, `round ${index}`)
  const whole = (least: number, most: number) => least + Math.floor(random() * (most - least + 1))
  const fromOutside = point === 'random-moment' || point === 'while-starting'
  const keyedShare = isRelease(point) ? 0.9 : 0.6
  return {
    index,
    point,
    passing: whole(1, isRelease(point) ? 2 : 4),
    delayMs: whole(1, 60),
    startDelayMs: whole(1, 500),
    connections: whole(2, fromOutside ? 8 : 5),
    transfers: Array.from({ length: fromOutside ? 40 : 14 }, () => ({
      keyed: random() < keyedShare,
      declined: random() < 0.1,
      raced: random() < 0.25,
      repeated: random() < (isRelease(point) ? 0.9 : 0.4),
      debtor: random() < 0.5 ? 'alice' : 'bob',
      cents: whole(1, 99),
      recovery: (['same-token', 'fresh-token', 'both-at-once'] as const)[whole(0, 2)] as TransferPlan['recovery'],
    })),
  }
}

/** Numbers from 0 to 1 that look random and follow from their names. */
function randomNumbers(seed: number, name: string): () => number {
  const random = new Random(createHash('sha256').update(`${seed}:${name}`).digest().readUInt32LE())
  return () => random.next()
}
