import type { Configuration } from './apps.js'
import type { Client } from './client.js'
import type { Deployment } from './replicas.js'
import { leewaySeconds } from './tokens.js'
import type { Step } from './world.js'

const secondMs = 1000
const minuteMs = 60_000
const hourMs = 3_600_000
const dayMs = 86_400_000
const leewayMs = leewaySeconds * secondMs

/**
 * How far clocks may be off the true time. In front of a ledger by hours, since it remembers for a day. Where the replay store
 * is last they agree within less than the margin of a claim, a minute, with time for a claim to arrive: one process's clock with
 * itself, Redis's with every replica's.
 */
const offsetsMs: Record<Configuration, { replica: readonly number[]; redis: readonly number[] }> = {
  ledger: {
    replica: [0, 0, -3000, 3000, -30_000, 30_000, -hourMs, hourMs, -11 * hourMs, 11 * hourMs],
    redis: [0, 0, -30_000, 30_000, -hourMs, hourMs],
  },
  memory: { replica: [0, -30_000, -5000, 5000, 30_000], redis: [0] },
  redis: { replica: [0, -5000, -5000, 5000], redis: [0, -30_000, 54_000, 54_000] },
}

/** How late the body of a request may come: this server gives up after 10 s, and Node after 300 s where nobody says less. */
const longestBodyMs: Record<Configuration, number> = { ledger: 10_000, memory: 300_000, redis: 300_000 }

/** Time that passes while something is under way: a command or a booking takes no longer. */
const briefMs = [1, 100] as const

/** Lets time pass and clocks step. */
export class TimeSteps {
  readonly #deployment: Deployment
  readonly #client: Client
  #leastOffsetMs = 0
  #mostOffsetMs = 0

  constructor(deployment: Deployment, client: Client) {
    this.#deployment = deployment
    this.#client = client
  }

  /** How far apart two times that mean the same can be. */
  get clockRangeMs(): number {
    return this.#mostOffsetMs - this.#leastOffsetMs + minuteMs
  }

  steps(): Step[] {
    const { world } = this.#deployment
    const steps: Step[] = [{ weight: 1.5, name: 'time passes', run: () => this.#pass() }]
    if (world.allowed.has('clock-step'))
      steps.push({ weight: 1.5, name: 'a clock steps', run: () => this.#stepClock() })
    return steps
  }

  /** Clocks that are wrong from the beginning, in some schedules. */
  begin(): void {
    const { world, replicas } = this.#deployment
    if (!world.allowed.has('clock-step') || world.random.chance(0.5)) return
    for (let count = 0; count <= replicas.length; count += 1) this.#stepClock()
  }

  /** Sets every clock right. */
  align(): void {
    for (const replica of this.#deployment.replicas) replica.offsetMs = 0
    this.#deployment.redis.offsetMs = 0
  }

  #pass(): void {
    const { world, isIdle } = this.#deployment
    const toMs = isIdle ? this.#pickMoment() : world.nowMs + world.random.pick(briefMs)
    if (toMs <= world.nowMs) return
    world.note(`${(toMs - world.nowMs) / secondMs} s pass`)
    world.nowMs = toMs
  }

  #pickMoment(): number {
    const { world, configuration } = this.#deployment
    const { random, nowMs } = world
    const slow = [...this.#client.slowAttempts]
    const oldestMs = Math.min(...slow.map(({ sentMs }) => sentMs))
    const latestMs = slow.length > 0 ? oldestMs + longestBodyMs[configuration] : Number.POSITIVE_INFINITY
    const token = random.pick(this.#client.attempts)?.token
    const expiryMs = token?.expiresAtMs ?? nowMs
    const moments = [
      nowMs + secondMs,
      nowMs + 10 * secondMs,
      nowMs + minuteMs,
      nowMs + hourMs,
      nowMs + dayMs,
      nowMs + dayMs - hourMs,
      expiryMs - secondMs,
      expiryMs,
      expiryMs + 1,
      expiryMs + leewayMs - 1,
      expiryMs + leewayMs,
      expiryMs + 2 * leewayMs - 1,
      expiryMs + leewayMs + minuteMs,
    ].filter((moment) => moment > nowMs && moment <= latestMs)
    return random.pick(moments) ?? nowMs
  }

  #stepClock(): void {
    const { world, configuration, replicas, redis } = this.#deployment
    const { random } = world
    const offsets = offsetsMs[configuration]
    const clock = random.pick([...replicas, redis])
    if (clock === undefined) return
    clock.offsetMs = random.pick(clock === redis ? offsets.redis : offsets.replica) ?? 0
    world.note(`the clock of ${'name' in clock ? clock.name : 'redis'} is ${clock.offsetMs / secondMs} s ahead`)
    if (clock === redis) return
    this.#leastOffsetMs = Math.min(this.#leastOffsetMs, clock.offsetMs)
    this.#mostOffsetMs = Math.max(this.#mostOffsetMs, clock.offsetMs)
  }
}
