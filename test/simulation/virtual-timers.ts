import { redisDeadlineMs, redisPauseMs } from '#src/replay/redis-replay-store.js'
import type { RedisConnection } from './simulated-redis.js'
import type { Step, World } from './world.js'

interface VirtualTimer {
  delayMs: number
  connection: RedisConnection
  name: string
  ring(): void
  unref(): VirtualTimer
}

type SetTimer = (run: () => void, delayMs?: number, ...rest: unknown[]) => unknown

/** Replaces the timers of `RedisReplayStore` by ones that ring when a step says so, and leaves all others alone. */
export class VirtualTimers {
  readonly #set = globalThis.setTimeout
  readonly #clear = globalThis.clearTimeout
  #world: World | undefined
  #timers: VirtualTimer[] = []

  constructor() {
    const set = this.#set as unknown as SetTimer
    const intercept: SetTimer = (run, delayMs, ...rest) => {
      const connection = this.#world?.activeConnection
      const isOurs = connection !== undefined && (delayMs === redisDeadlineMs || delayMs === redisPauseMs)
      return isOurs ? this.#start(connection, { run, delayMs }) : set(run, delayMs, ...rest)
    }
    globalThis.setTimeout = intercept as typeof setTimeout
    globalThis.clearTimeout = ((timer: unknown) => {
      if (this.#timers.includes(timer as VirtualTimer)) this.#drop(timer as VirtualTimer)
      else this.#clear(timer as never)
    }) as typeof clearTimeout
  }

  /** Forgets every timer and serves another schedule from now on, or none. */
  serve(world: World | undefined): void {
    this.#world = world
    this.#timers = []
  }

  restore(): void {
    globalThis.setTimeout = this.#set
    globalThis.clearTimeout = this.#clear
  }

  steps(slowRedis: boolean): Step[] {
    this.#timers = this.#timers.filter(({ connection }) => !connection.isDead)
    const due = this.#timers.filter(({ delayMs }) => slowRedis || delayMs === redisPauseMs)
    return due.map((timer) => ({ weight: 3, name: timer.name, run: timer.ring }))
  }

  #start(connection: RedisConnection, { run, delayMs }: { run: () => void; delayMs: number }): VirtualTimer {
    const { name, giveUp } = delayMs === redisDeadlineMs ? connection.limitLast() : connection.limitPause()
    const ring = () => {
      this.#drop(timer)
      giveUp()
      run()
    }
    const timer: VirtualTimer = { delayMs, connection, name, ring, unref: () => timer }
    this.#timers.push(timer)
    return timer
  }

  #drop(timer: VirtualTimer): void {
    this.#timers = this.#timers.filter((one) => one !== timer)
  }
}
