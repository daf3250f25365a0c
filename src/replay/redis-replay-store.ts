import type { Cluster, Redis } from 'ioredis'
import type { Clock } from '../core/clock.js'
import type { Claim, ReplayOutcome, ReplayStore } from './replay-store.js'

export interface RedisReplayStoreOptions {
  /**
   * A client of the caller's, who opens and closes it. With `enableOfflineQueue: false`, `autoResendUnfulfilledCommands: false` and
   * `maxRetriesPerRequest: 0`: a claim that is sent a second time would meet itself.
   */
  client: Redis | Cluster
  clock: Clock
  /** What stands before every key. */
  prefix?: string
  /** Told when the ring begins to fail, with the reason, and without one when it works again. */
  onChange?: (fault: Error | undefined) => void
  /** Told what is wrong with a server that works all the same. */
  onWarning?: (warning: string) => void
}

/** Every command is given up after this long: a frozen server must not hold a request. */
export const redisDeadlineMs = 150
/** After a missed deadline nothing is claimed for this long; then one command asks whether the server is back. */
export const redisPauseMs = 1000
/** A server whose clock is further ahead than this could forget claims while their tokens still pass. */
const maxClockLeadMs = 30_000

/** Deletes a key only where the claim is this one, since one whose answer was lost may belong to another. */
const releaseScript = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

/**
 * The ring that replicas share: one `SET NX PXAT` in Redis or Valkey, 6.2 or newer. Fails fast, and works again by itself.
 * Best effort by nature, since a failover or an eviction can lose keys: whoever moves money keeps a ledger behind it.
 */
export class RedisReplayStore implements ReplayStore {
  readonly retention = 'shared'
  readonly #options: RedisReplayStoreOptions
  readonly #prefix: string
  /** Whether the server was looked at since the connection was made or a deadline was missed. Nothing is claimed before. */
  #inspected = false
  #fault: Error | undefined
  #policy = 'noeviction'
  #nextInspection: NodeJS.Timeout | undefined

  constructor(options: RedisReplayStoreOptions) {
    this.#options = options
    this.#prefix = options.prefix ?? 'stepgate:jti:'
    const { client } = options
    client.on('error', (error: Error) => this.#fail(error))
    client.on('close', () => this.#fail(new ConnectionLost('the connection is closed')))
    client.on('ready', () => void this.#inspect())
    if (client.status === 'ready') void this.#inspect()
  }

  get isReachable(): boolean {
    return this.#inspected && this.#fault === undefined
  }

  async consume({ key, id, expiresAtMs }: Claim): Promise<ReplayOutcome> {
    if (!this.#inspected) return 'unreachable'
    const { client } = this.#options
    try {
      const reply = await withinDeadline(client.set(this.#prefix + key, id, 'PXAT', expiresAtMs, 'NX'))
      if (this.#inspected) this.#recover()
      return reply === 'OK' ? 'consumed' : 'replayed'
    } catch (error) {
      this.#fail(error as Error)
      return 'unreachable'
    }
  }

  /** Asks even when nothing is claimed: on the same connection it cannot overtake a claim that is still on its way. */
  async release({ key, id }: Claim): Promise<void> {
    const { client } = this.#options
    if (client.status !== 'ready') return
    try {
      await withinDeadline(client.eval(releaseScript, 1, this.#prefix + key, id))
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    // Not the error itself: ioredis hangs the command on it, with its password.
    if (this.#fault === undefined) this.#options.onChange?.(new Error(error.message))
    this.#fault = error
    if (error instanceof DeadlineMissed || error instanceof ConnectionLost) this.#inspected = false
    if (error instanceof DeadlineMissed) this.#inspectLater()
  }

  #recover(): void {
    if (this.#fault !== undefined) this.#options.onChange?.(undefined)
    this.#fault = undefined
  }

  /** Looks at the server that a connection reaches: whether it answers, and whether its claims would last. */
  async #inspect(): Promise<void> {
    const { client, clock, onWarning } = this.#options
    try {
      const [seconds] = await withinDeadline(client.time())
      const leadMs = Number(seconds) * 1000 - clock.nowMs()
      if (leadMs > maxClockLeadMs) throw new Error(`its clock is ${Math.round(leadMs / 1000)} s ahead of this one`)
      const policy = await withinDeadline(readEvictionPolicy(client))
      if (policy !== 'noeviction' && policy !== this.#policy) {
        onWarning?.(`maxmemory-policy is ${policy}: expected noeviction, as an evicted claim lets its token pass again`)
      }
      this.#policy = policy
      this.#inspected = true
      this.#recover()
    } catch (error) {
      this.#inspected = false
      this.#fail(error as Error)
      this.#inspectLater()
    }
  }

  #inspectLater(): void {
    clearTimeout(this.#nextInspection)
    this.#nextInspection = setTimeout(() => {
      // A client without a connection inspects once it has one; one that was closed never will.
      if (this.#options.client.status === 'ready') void this.#inspect()
    }, redisPauseMs).unref()
  }
}

class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
}

class DeadlineMissed extends Error {
  override readonly name = 'DeadlineMissed'
}

async function withinDeadline<T>(reply: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const missed = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineMissed(`no answer within ${redisDeadlineMs} ms`)), redisDeadlineMs)
  })
  try {
    return await Promise.race([reply, missed])
  } finally {
    clearTimeout(timer)
  }
}

/** The server's maxmemory-policy, or why it is not known: a user's permissions may leave out INFO. */
function readEvictionPolicy(client: Redis | Cluster): Promise<string> {
  const unknown = 'not known (INFO is not permitted)'
  return client.info('memory').then(
    (info) => /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? unknown,
    (error: Error) => {
      if (error.message.startsWith('NOPERM')) return unknown
      throw error
    },
  )
}
