import { LRUCache } from 'lru-cache'
import type { Clock } from '../core/clock.js'
import type { Claim, ReplayOutcome, ReplayStore } from './replay-store.js'

export interface LruReplayStoreOptions {
  maxEntries: number
  clock: Clock
  /**
   * What to do when full of live entries. `forget` drops the oldest: right in front of a ledger that remembers for good.
   * `refuse` answers `full`: the only safe way where nothing stands behind this store.
   */
  whenFull: 'forget' | 'refuse'
}

/** Looking for expired entries takes time in proportion to their number, so a full store does it at most this often. */
const purgeIntervalMs = 100

/**
 * The first ring: used tokens in this process's memory. Answers within microseconds and knows nothing of other processes
 * or of the time before it started. Expiry is kept here rather than by lru-cache, whose ttl misreads a clock at 0.
 */
export class LruReplayStore implements ReplayStore {
  readonly isReachable = true
  readonly #expiryByKey: LRUCache<string, number>
  readonly #options: LruReplayStoreOptions
  #nextPurgeMs = Number.NEGATIVE_INFINITY

  constructor(options: LruReplayStoreOptions) {
    this.#options = options
    this.#expiryByKey = new LRUCache({ max: options.maxEntries })
  }

  get retention(): 'forgets' | 'process' {
    return this.#options.whenFull === 'forget' ? 'forgets' : 'process'
  }

  /** How many keys are remembered, expired ones that were not yet dropped included. */
  get size(): number {
    return this.#expiryByKey.size
  }

  async consume({ key, expiresAtMs }: Claim): Promise<ReplayOutcome> {
    const nowMs = this.#options.clock.nowMs()
    const knownUntilMs = this.#expiryByKey.peek(key)
    if (knownUntilMs !== undefined && knownUntilMs > nowMs) return 'replayed'
    if (this.#options.whenFull === 'refuse' && knownUntilMs === undefined && !this.#hasRoom(nowMs)) return 'full'
    this.#expiryByKey.set(key, expiresAtMs)
    return 'consumed'
  }

  async release({ key }: Claim): Promise<void> {
    this.#expiryByKey.delete(key)
  }

  #hasRoom(nowMs: number): boolean {
    if (this.#expiryByKey.size < this.#options.maxEntries) return true
    if (nowMs < this.#nextPurgeMs) return false
    this.#nextPurgeMs = nowMs + purgeIntervalMs
    for (const [key, expiresAtMs] of this.#expiryByKey.entries()) {
      if (expiresAtMs <= nowMs) this.#expiryByKey.delete(key)
    }
    return this.#expiryByKey.size < this.#options.maxEntries
  }
}
