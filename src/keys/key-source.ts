import type { Clock } from '../core/clock.js'
import type { JoseHeader } from '../core/compact-jwt.js'
import { fetchJson } from './bounded-fetch.js'
import { discoverJwksUri } from './discovery.js'
import { KeySet } from './key-set.js'

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
  /** Told of every refresh: undefined, or why it failed. */
  onRefresh?: (fault: unknown) => void
}

const refreshIntervalMs = 300_000
const coolDownMs = 5000
const maxStaleMs = 86_400_000

/**
 * The keys of one issuer. Finds and loads them when started and again every 300 s; an unknown kid refreshes at once, but never within
 * 5 s of the last attempt, so that forged kids cost the issuer nothing. One fetch is under way at a time. A refresh
 * replaces the set; a failed one leaves it, for at most 24 h. Does not block anybody whose key is known.
 */
export class JwksKeySource implements KeySource {
  readonly #options: JwksKeySourceOptions
  #jwksUri: string | undefined
  #keySet: KeySet | undefined
  #keyEpoch = 0
  #loadedAtMs = 0
  #attemptedAtMs = Number.NEGATIVE_INFINITY
  #lastRefreshFailed = false
  #refreshing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: JwksKeySourceOptions) {
    this.#options = options
  }

  /** Loads the keys before the first request asks for one, in the background. Without it that request does. */
  start(): void {
    void this.#refresh()
  }

  get epoch(): number | undefined {
    return this.state === 'none' ? undefined : this.#keyEpoch
  }

  get state(): 'fresh' | 'stale' | 'none' {
    if (this.#keySet === undefined || this.#options.clock.nowMs() - this.#loadedAtMs > maxStaleMs) return 'none'
    return this.#lastRefreshFailed ? 'stale' : 'fresh'
  }

  async publicKey(header: JoseHeader): Promise<string | undefined> {
    if (this.state === 'none' || this.#keySet?.has(header.kid) !== true) await this.#refreshUnlessJustDone()
    if (this.#keySet === undefined || this.state === 'none')
      throw new KeysUnavailable('no keys of the issuer are known')
    if (this.#keySet.has(header.kid)) return this.#keySet.publicKey(header)
    if (this.#lastRefreshFailed) throw new KeysUnavailable('whether the issuer has this key cannot be known')
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
    this.#refreshing ??= this.#load()
      .then(
        () => this.#finish(undefined),
        (error: unknown) => this.#finish(error),
      )
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
  }

  async #load(): Promise<void> {
    this.#attemptedAtMs = this.#options.clock.nowMs()
    const { issuer, jwksUri, algorithms } = this.#options
    this.#jwksUri ??= jwksUri ?? (await discoverJwksUri(issuer))
    const keySet = await KeySet.read(await fetchJson(this.#jwksUri), algorithms)
    this.#loadedAtMs = this.#options.clock.nowMs()
    if (keySet.text === this.#keySet?.text) return
    this.#keySet = keySet
    this.#keyEpoch += 1
  }

  #finish(fault: unknown): void {
    this.#lastRefreshFailed = fault !== undefined
    if (fault !== undefined) this.#jwksUri = undefined
    this.#options.onRefresh?.(fault)
    if (this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => {
        // The issuer may have moved its keys without taking the old address down.
        this.#jwksUri = undefined
        void this.#refresh()
      },
      fault === undefined ? refreshIntervalMs : coolDownMs,
    )
    this.#timer.unref()
  }
}
