import { Random } from './random.js'
import type { Replica } from './replicas.js'
import type { RedisConnection } from './simulated-redis.js'
import type { Token } from './tokens.js'

/** What may go wrong. A schedule allows some of it, so that rare combinations come as well as plain ones. */
export const faults = [
  'refusal',
  'lost-answer',
  'lost-request',
  'late-commit',
  'slow-redis',
  'redis-error',
  'broken-connection',
  'lost-keys',
  'restart',
  'clock-step',
  'slow-body',
] as const
export type Fault = (typeof faults)[number]

/** Something that can happen next. Only one thing happens at a time, and what follows from it by itself ends before the next. */
export interface Step {
  weight: number
  name: string
  run(): unknown
}

export interface Answer {
  status: number
  /** The last segment of the problem's type. */
  problem: string | undefined
  transferId: string | undefined
  replayed: boolean
}

/** One request of the client's. */
export interface Attempt {
  number: number
  replica: Replica
  token: Token
  key: string | undefined
  body: string
  sentMs: number
  /** `lost` when its replica died: the client never learns more. */
  state: 'running' | 'waiting' | 'answered' | 'lost'
  answer: Answer | undefined
}

/** A promise of stepgate's was broken. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

const settlingTicks = 60
const settlingTurns = 2000

/** Time, chance, the trace, and which request is running: of all requests at most one, the others wait for a step. */
export class World {
  readonly random: Random
  readonly trace: string[] = []
  /** Tokens whose claim may rightly stay although nothing was booked with them. */
  readonly mayBeBurnt = new Set<Token>()
  allowed: ReadonlySet<Fault> = new Set()
  /** True time; every clock is off by an offset of its own. */
  nowMs: number
  /** The connection that was used last: timers that start now are its own. */
  activeConnection: RedisConnection | undefined
  #running: Attempt | undefined
  #failure: unknown

  constructor(seed: number, nowMs: number) {
    this.random = new Random(seed)
    this.nowMs = nowMs
  }

  note(line: string): void {
    this.trace.push(line)
  }

  /** The running request waits for a step from now on. Returns it; undefined when no request's work called. */
  pause(): Attempt | undefined {
    const attempt = this.#running
    if (attempt !== undefined) attempt.state = 'waiting'
    this.#running = undefined
    return attempt
  }

  /** A request runs until it waits again or is answered. */
  resume(attempt: Attempt | undefined): void {
    if (attempt === undefined) return
    if (this.#running !== undefined)
      throw new Violation(`#${this.#running.number} and #${attempt.number} run at a time`)
    attempt.state = 'running'
    this.#running = attempt
  }

  finish(attempt: Attempt, answer: Answer): void {
    attempt.state = 'answered'
    attempt.answer = answer
    this.#running = undefined
  }

  /** Something failed that nobody waits for: the schedule ends with it. */
  fail(error: unknown): void {
    this.#failure ??= error
  }

  /** Resolves once nothing goes on by itself. Throws what failed meanwhile. */
  async settle(): Promise<void> {
    await nextTick()
    for (let tick = 0; this.#isBusy && tick < settlingTicks; tick += 1) await nextTick()
    for (let turn = 0; this.#isBusy && turn < settlingTurns; turn += 1) await nextTurn()
    if (this.#failure !== undefined) throw this.#failure
    if (this.#running !== undefined) throw new Violation(`#${this.#running.number} hangs: it waits for nothing`)
  }

  get #isBusy(): boolean {
    return this.#running !== undefined && this.#failure === undefined
  }
}

function nextTick(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
