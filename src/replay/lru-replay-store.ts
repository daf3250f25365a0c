import { LRUCache } from 'lru-cache'
import type { Clock } from '../core/clock.js'
import { digestOf } from './key-digest.js'
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

/** A look takes up to a microsecond, so an attempt on a full store takes so many, and the next attempt goes on from there. */
const looksPerAttempt = 100

/**
 * The first ring: used tokens in this process's memory. Answers within microseconds and knows nothing of other processes
 * or of the time before it started. Expiry is kept here rather than by lru-cache, whose ttl misreads a clock at 0.
 */
export class LruReplayStore implements ReplayStore {
  readonly isReachable = true
  /** When each may be forgotten, in ms since the start: for 24 days V8 keeps that in the array, without an object of its own. */
  readonly #expiryByDigest: LRUCache<string, number>
  readonly #options: LruReplayStoreOptions
  readonly #startMs: number
  /** A walk through all entries of a full store, oldest first, and where it rests. */
  #walk: Iterator<string, void>
  #next: string | undefined

  constructor(options: LruReplayStoreOptions) {
    this.#options = options
    this.#startMs = options.clock.nowMs()
    this.#expiryByDigest = new LRUCache({ max: options.maxEntries })
    this.#walk = this.#expiryByDigest.rkeys()
  }

  get retention(): 'forgets' | 'process' {
    return this.#options.whenFull === 'forget' ? 'forgets' : 'process'
  }

  /** How many keys are remembered, expired ones that were not yet dropped included. */
  get size(): number {
    return this.#expiryByDigest.size
  }

  async consume({ key, expiresAtMs }: Claim): Promise<ReplayOutcome> {
    const nowMs = this.#options.clock.nowMs() - this.#startMs
    const digest = digestOf(key)
    const knownUntilMs = this.#expiryByDigest.peek(digest)
    if (knownUntilMs !== undefined && knownUntilMs > nowMs) return 'replayed'
    if (this.#options.whenFull === 'refuse' && knownUntilMs === undefined && !this.#hasRoom(nowMs)) return 'full'
    this.#expiryByDigest.set(digest, expiresAtMs - this.#startMs)
    return 'consumed'
  }

  /** Looks at the key alone: of this process's claims only one holds it, unless it was forgotten for another. */
  async release({ key }: Claim): Promise<void> {
    this.#expiryByDigest.delete(digestOf(key))
  }

  /** A full store drops one expired entry: mostly the oldest, and otherwise the walk comes to it, a few looks at a time. */
  #hasRoom(nowMs: number): boolean {
    const { maxEntries } = this.#options
    for (let looks = 0; this.size >= maxEntries && looks < looksPerAttempt; looks += 1) {
      const digest = looks === 0 ? this.#expiryByDigest.rkeys().next().value : this.#walkOn()
      if (digest !== undefined && this.#isExpired(digest, nowMs)) this.#expiryByDigest.delete(digest)
    }
    return this.size < maxEntries
  }

  #isExpired(digest: string, nowMs: number): boolean {
    const knownUntilMs = this.#expiryByDigest.peek(digest)
    return knownUntilMs !== undefined && knownUntilMs <= nowMs
  }

  /** Leaves an entry before it may be dropped, since lru-cache cannot go on from one that is gone. */
  #walkOn(): string | undefined {
    const digest = this.#next
    if (digest === undefined) this.#walk = this.#expiryByDigest.rkeys()
    const { value, done } = this.#walk.next()
    this.#next = done ? undefined : value
    return digest
  }
}
