import { LRUCache } from 'lru-cache'
import type { Clock } from 'stepgate'
import type { SignInChecks } from './openid-provider.js'

/** A person who was sent to the authorization server and is not back yet. */
export interface PendingSignIn {
  readonly kind: 'sign-in' | 'step-up'
  readonly checks: SignInChecks
  /** Where the person wanted to go: a path of this app, checked already. */
  readonly returnPath: string
  /** The browser that began, by the secret in its cookie. Nobody else's can finish (RFC 9700 §4.7). */
  readonly browser: string
}

/** As long as the authorization server keeps its pages open. */
export const pendingSeconds = 600
const maxPending = 10_000

/** Sign-ins under way, by `state`. Several may be open in one browser, in a tab each. Kept in memory, and apart from the sessions. */
export class PendingSignIns {
  readonly #pending: LRUCache<string, PendingSignIn>

  constructor(clock: Clock) {
    const perf = { now: () => clock.nowMs() }
    this.#pending = new LRUCache({ max: maxPending, ttl: pendingSeconds * 1000, ttlResolution: 0, perf })
  }

  add(pending: PendingSignIn): void {
    this.#pending.set(pending.checks.state, pending)
  }

  /** Hands over a sign-in once, to the browser that began it. Another browser gets undefined, and takes nothing away. */
  take(state: unknown, browser: string | undefined): PendingSignIn | undefined {
    const pending = typeof state === 'string' ? this.#pending.get(state) : undefined
    if (pending === undefined || pending.browser !== browser) return undefined
    this.#pending.delete(pending.checks.state)
    return pending
  }
}
