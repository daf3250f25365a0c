import { EventEmitter } from 'node:events'
import type { Attempt, Step, World } from './world.js'

interface Command {
  name: string
  execute(): unknown
  attempt: Attempt | undefined
  reply: unknown
  isExecuted: boolean
  /** Whether somebody still waits for the reply. */
  isAwaited: boolean
  resolve(reply: never): void
  reject(error: Error): void
}

/** Redis's keys, with a clock of its own. */
export class SimulatedRedis {
  offsetMs = 0
  readonly #keys = new Map<string, { value: string; expiresAtMs: number }>()
  readonly #world: World
  /** Commands of connections that are gone, which the server has received and will come to. */
  #late: Command[][] = []

  constructor(world: World) {
    this.#world = world
  }

  get nowMs(): number {
    return this.#world.nowMs + this.offsetMs
  }

  /** SET NX PXAT: a time that is past stores nothing and is OK all the same. */
  setIfNone(key: string, value: string, expiresAtMs: number): 'OK' | null {
    if (this.#get(key) !== undefined) return null
    if (expiresAtMs > this.nowMs) this.#keys.set(key, { value, expiresAtMs })
    return 'OK'
  }

  /** Does what the text of the release script says. */
  release(script: string, key: string, value: string): number {
    const isConditional = script.includes("redis.call('get', KEYS[1]) == ARGV[1]")
    if (isConditional && this.#get(key) !== value) return 0
    return this.#keys.delete(key) ? 1 : 0
  }

  /** A failover or an eviction: all keys go, or one. */
  lose(which: 'all' | 'one'): void {
    if (which === 'all') this.#keys.clear()
    else this.#keys.delete(this.#world.random.pick([...this.#keys.keys()]) ?? '')
  }

  keepForLater(commands: Command[]): void {
    if (commands.length > 0) this.#late.push(commands)
  }

  steps(): Step[] {
    return this.#late.map((commands) => ({
      weight: 2,
      name: `redis comes to ${commands[0]?.name}`,
      run: () => {
        commands.shift()?.execute()
        this.#late = this.#late.filter(({ length }) => length > 0)
      },
    }))
  }

  /** An expired key is dropped when it is met, and does not come back with a clock that steps back. */
  #get(key: string): string | undefined {
    const entry = this.#keys.get(key)
    if (entry === undefined || entry.expiresAtMs > this.nowMs) return entry?.value
    this.#keys.delete(key)
    return undefined
  }
}

/** Whose connection it is: a replica with requests under way. */
export interface ConnectionOwner {
  name: string
  live: ReadonlySet<Attempt>
}

/** What `RedisReplayStore` uses of an ioredis client: commands go out and come back in order, or not at all. */
export class RedisConnection extends EventEmitter {
  status: 'ready' | 'close' = 'ready'
  readonly #redis: SimulatedRedis
  readonly #replicaName: string
  readonly #live: ReadonlySet<Attempt>
  readonly #world: World
  #commands: Command[] = []
  #isDead = false

  constructor({ name, live }: ConnectionOwner, redis: SimulatedRedis, world: World) {
    super()
    this.#replicaName = name
    this.#live = live
    this.#redis = redis
    this.#world = world
    world.activeConnection = this
  }

  get isDead(): boolean {
    return this.#isDead
  }

  get isIdle(): boolean {
    return this.#commands.every(({ isAwaited }) => !isAwaited)
  }

  set(key: string, value: string, _pxat: 'PXAT', expiresAtMs: number, _nx: 'NX'): Promise<unknown> {
    return this.#send('SET', () => this.#redis.setIfNone(key, value, expiresAtMs))
  }

  eval(script: string, _keys: 1, key: string, value: string): Promise<unknown> {
    return this.#send('EVAL', () => this.#redis.release(script, key, value))
  }

  time(): Promise<unknown> {
    return this.#send('TIME', () => [String(Math.floor(this.#redis.nowMs / 1000)), '0'])
  }

  info(): Promise<unknown> {
    return this.#send('INFO', () => 'maxmemory_policy:noeviction')
  }

  /** What happens when the command that was sent last has missed its deadline. */
  limitLast(): { name: string; giveUp: () => void } {
    const command = this.#commands.at(-1)
    const giveUp = () => {
      if (command === undefined) return
      command.isAwaited = false
      this.#world.activeConnection = this
      this.#world.resume(command.attempt)
    }
    return { name: `${this.#replicaName}: ${command?.name} misses its deadline`, giveUp }
  }

  /** What happens when it is time to look at the server again. */
  limitPause(): { name: string; giveUp: () => void } {
    const giveUp = () => {
      this.#world.activeConnection = this
    }
    return { name: `${this.#replicaName}: looks at redis again`, giveUp }
  }

  steps(): Step[] {
    const { allowed } = this.#world
    if (this.status === 'close') return [this.#step(4, 'connects again', () => this.#reconnect())]
    const steps: Step[] = []
    const head = this.#commands[0]
    const next = this.#commands.find(({ isExecuted }) => !isExecuted)
    if (head?.isExecuted === true) {
      steps.push(this.#step(8, `${head.name} answers`, () => this.#deliver(head)))
    } else if (head !== undefined) {
      const run = () => {
        this.#execute(head)
        this.#deliver(head)
      }
      steps.push(this.#step(10, `${head.name} is done and answers`, run))
    }
    if (next !== undefined && allowed.has('slow-redis')) {
      steps.push(this.#step(3, `${next.name} is done`, () => this.#execute(next)))
    }
    if (head?.isExecuted === false && allowed.has('redis-error')) {
      steps.push(this.#step(2, `${head.name} is refused`, () => this.#refuse(head)))
    }
    if (allowed.has('broken-connection')) {
      steps.push(this.#step(this.#commands.length > 0 ? 2 : 0.3, 'breaks', () => this.#break()))
    }
    return steps
  }

  /** Its process died. What the server has received of it will still be done. */
  abandon(): void {
    this.#isDead = true
    this.#leaveBehind()
  }

  #send(command: string, execute: () => unknown): Promise<unknown> {
    this.#world.activeConnection = this
    if (this.status !== 'ready') return Promise.reject(new Error("Stream isn't writeable"))
    const attempt = this.#world.pause()
    const name = attempt === undefined ? command : `${command} of #${attempt.number}`
    return new Promise((resolve, reject) => {
      const state = { reply: undefined, isExecuted: false, isAwaited: true }
      this.#commands.push({ name, execute, attempt, ...state, resolve, reject })
    })
  }

  #step(weight: number, what: string, run: () => unknown): Step {
    const inContext = () => {
      this.#world.activeConnection = this
      return run()
    }
    return { weight, name: `${this.#replicaName}: ${what}`, run: inContext }
  }

  #execute(command: Command): void {
    command.reply = command.execute()
    command.isExecuted = true
  }

  #deliver(command: Command): void {
    this.#commands.shift()
    if (command.isAwaited) this.#world.resume(command.attempt)
    command.resolve(command.reply as never)
  }

  /** As a server does that is loading, read-only or out of memory. */
  #refuse(command: Command): void {
    this.#commands.shift()
    if (command.attempt !== undefined && command.name.startsWith('EVAL')) {
      this.#world.mayBeBurnt.add(command.attempt.token)
    }
    if (command.isAwaited) this.#world.resume(command.attempt)
    command.reject(new Error('LOADING Redis is loading the dataset in memory'))
  }

  async #break(): Promise<void> {
    this.status = 'close'
    const lost = this.#leaveBehind()
    this.emit('close')
    for (const { attempt, isAwaited, reject } of lost) {
      this.#world.activeConnection = this
      if (isAwaited) this.#world.resume(attempt)
      reject(new Error('Connection is closed.'))
      await this.#world.settle()
    }
  }

  #reconnect(): void {
    this.status = 'ready'
    this.emit('ready')
  }

  /** Some of the commands under way reached the server, the first ones first. Returns all of them. */
  #leaveBehind(): Command[] {
    const lost = this.#commands
    this.#commands = []
    const unseen = lost.filter(({ isExecuted }) => !isExecuted)
    this.#redis.keepForLater(unseen.slice(0, this.#world.random.below(unseen.length + 1)))
    const concerned = [...lost.flatMap(({ attempt }) => attempt ?? []), ...this.#live]
    for (const { token } of concerned) this.#world.mayBeBurnt.add(token)
    return lost
  }
}
