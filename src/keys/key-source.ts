import type { Clock } from '../core/clock.js'
import type { JoseHeader } from '../core/compact-jwt.js'
import { fetchJson } from './bounded-fetch.js'
import { discoverJwksUri } from './discovery.js'
import { KeySet, NoUsableKey } from './key-set.js'

/** Where verification keys come from. */
export interface KeySource {
  /**
   * The PEM public key that a token's header names, or undefined when the issuer has no such key.
   * Throws `KeysUnavailable` while that cannot be known.
   */
  publicKey(header: JoseHeader): Promise<string | undefined>
  /** Changes whenever the keys do, and is undefined while there are none: what was verified under another must be verified again. */
  readonly epoch: number | undefined
  /** `stale` keys still serve while the issuer is out of reach; `none` means that no token can be verified. */
  readonly state: 'fresh' | 'stale' | 'none'
  close(): void
}

/** The issuer cannot be reached and no usable keys are known. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable'
}

export interface JwksKeySourceOptions {
  issuer: string
  /** Address of the JWK Set; found by discovery when undefined. */
  jwksUri: string | undefined
  algorithms: readonly string[]
  clock: Clock
  /** For how long known keys serve while the issuer is out of reach; 86,400 (a day) unless given. */
  maxStaleSeconds?: number
  /** Told of every refresh: undefined, or why it failed. */
  onRefresh?: (fault: unknown) => void
  /** Told what is odd about a set of keys that is used all the same. */
  onWarning?: (warning: string) => void
}

const longestIntervalMs = 300_000
const shortestIntervalMs = 1000
const coolDownMs = 5000
/** How long a request waits for a refresh, which may need up to three documents of 5 s each. */
const patienceMs = 5000
/** For how long an issuer that publishes no usable key is taken to be faulty, rather than to have withdrawn all of them. */
const withdrawalMs = 300_000
const defaultMaxStaleSeconds = 86_400
const maxWarningLength = 300

/**
 * The keys of one issuer. Finds and loads them when started and again every 300 s (sooner where they may serve less than
 * twice that in an outage); an unknown kid refreshes at once, but never within 5 s of the last attempt, so that forged kids
 * cost the issuer one attempt in 5 s at most. One refresh is under way at a time. A refresh replaces the set; a failed one leaves it, until the
 * issuer has not confirmed it for `maxStaleSeconds`. A set without any usable key counts as a failure for 300 s, then as
 * one that withdraws all keys. Holds up nobody whose key is known, and nobody else for more than 5 s.
 */
export class JwksKeySource implements KeySource {
  readonly #options: JwksKeySourceOptions
  readonly #maxStaleMs: number
  readonly #intervalMs: number
  #jwksUri: string | undefined
  #keySet: KeySet | undefined
  #keyEpoch = 0
  #confirmedAtMs: number
  #attemptedAtMs = Number.NEGATIVE_INFINITY
  #withoutKeySinceMs: number | undefined
  #lastRefreshFailed = false
  /** Settles when the refresh under way ends or has taken too long to wait for. */
  #refreshing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: JwksKeySourceOptions) {
    this.#options = options
    this.#maxStaleMs = (options.maxStaleSeconds ?? defaultMaxStaleSeconds) * 1000
    this.#intervalMs = Math.min(longestIntervalMs, Math.max(shortestIntervalMs, this.#maxStaleMs / 2))
    this.#confirmedAtMs = options.clock.nowMs()
  }

  /** Loads the keys before the first request asks for one, in the background. Without it that request does. */
  start(): void {
    void this.#refresh()
  }

  get epoch(): number | undefined {
    return this.state === 'none' ? undefined : this.#keyEpoch
  }

  get state(): 'fresh' | 'stale' | 'none' {
    const servingMs = this.#lastRefreshFailed ? this.#maxStaleMs : Math.max(this.#maxStaleMs, 2 * this.#intervalMs)
    if (this.#keySet === undefined || this.#ageMs > servingMs) return 'none'
    return this.#lastRefreshFailed ? 'stale' : 'fresh'
  }

  /** Seconds since the issuer last confirmed the keys or, when it never has, since this source was made. */
  get ageSeconds(): number {
    return Math.max(0, this.#ageMs / 1000)
  }

  get #ageMs(): number {
    return this.#options.clock.nowMs() - this.#confirmedAtMs
  }

  async publicKey(header: JoseHeader): Promise<string | undefined> {
    if (this.state === 'none' || this.#keySet?.has(header.kid) !== true) await this.#refreshUnlessJustDone()
    if (this.#keySet === undefined || this.state === 'none')
      throw new KeysUnavailable('no keys of the issuer are known')
    if (this.#keySet.has(header.kid)) return this.#keySet.publicKey(header)
    if (this.#lastRefreshFailed || this.#refreshing !== undefined)
      throw new KeysUnavailable('whether the issuer has this key cannot be known')
    return undefined
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  async #refreshUnlessJustDone(): Promise<void> {
    const sinceAttemptMs = this.#options.clock.nowMs() - this.#attemptedAtMs
    const coolingDown = sinceAttemptMs >= 0 && sinceAttemptMs < coolDownMs
    if (this.#refreshing !== undefined || !coolingDown) await this.#refresh()
  }

  #refresh(): Promise<void> {
    if (this.#refreshing !== undefined) return this.#refreshing
    let patience: NodeJS.Timeout | undefined
    const tooLong = new Promise<void>((resolve) => {
      patience = setTimeout(resolve, patienceMs)
    })
    const refreshed = this.#load()
      .then(
        () => this.#finish(undefined),
        (error: unknown) => this.#finish(error),
      )
      .finally(() => {
        clearTimeout(patience)
        this.#refreshing = undefined
      })
    this.#refreshing = Promise.race([refreshed, tooLong])
    return this.#refreshing
  }

  async #load(): Promise<void> {
    this.#attemptedAtMs = this.#options.clock.nowMs()
    const { issuer, jwksUri, algorithms } = this.#options
    this.#jwksUri ??= jwksUri ?? (await discoverJwksUri(issuer))
    const keySet = await KeySet.read(await fetchJson(this.#jwksUri), algorithms)
    this.#confirmedAtMs = this.#options.clock.nowMs()
    if (keySet.text === this.#keySet?.text) return
    this.#keySet = keySet
    this.#keyEpoch += 1
    this.#warnOf(keySet.ambiguous)
  }

  #warnOf(ambiguous: readonly string[]): void {
    if (ambiguous.length === 0) return
    const names = ambiguous.join(', ').slice(0, maxWarningLength)
    this.#options.onWarning?.(`the issuer gives different keys one kid and none of them is used: ${names}`)
  }

  #finish(fault: unknown): void {
    const recovered = this.#lastRefreshFailed && fault === undefined
    this.#lastRefreshFailed = fault !== undefined
    if (fault !== undefined) this.#noteFailure(fault)
    else this.#withoutKeySinceMs = undefined
    // A refresh that a caller caused leaves the one to come in its place, or forged kids could put that off for ever.
    if (fault !== undefined || recovered || this.#timer === undefined) this.#schedule()
    this.#options.onRefresh?.(fault)
  }

  #noteFailure(fault: unknown): void {
    const nowMs = this.#options.clock.nowMs()
    // Or a clock that was set back would let the keys serve for longer.
    this.#confirmedAtMs = Math.min(this.#confirmedAtMs, nowMs)
    this.#jwksUri = undefined
    if (!(fault instanceof NoUsableKey)) return
    this.#withoutKeySinceMs ??= nowMs
    if (nowMs - this.#withoutKeySinceMs >= withdrawalMs) this.#keySet = undefined
  }

  #schedule(): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    const delayMs = this.#lastRefreshFailed ? Math.min(coolDownMs, this.#intervalMs) : this.#intervalMs
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      // The issuer may have moved its keys without taking the old address down.
      this.#jwksUri = undefined
      void this.#refresh()
    }, delayMs)
    this.#timer.unref()
  }
}
