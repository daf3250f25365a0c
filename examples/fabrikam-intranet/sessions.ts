import { randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock, IdTokenClaims } from 'stepgate'

/** What the intranet remembers of somebody who is signed in. There are no tokens in it, since it needs none afterwards. */
export interface Session {
  /** The claims of the newest ID Token, verified. */
  readonly claims: IdTokenClaims
  /** The claims before the last step-up, to show what it changed. */
  readonly claimsBefore: IdTokenClaims | undefined
  /** When the person signed in, for the longest time that a session may last. A step-up does not move it, a new sign-in does. */
  readonly startedMs: number
}

const idleMs = 30 * 60_000
const longestMs = 8 * 3_600_000
const maxSessions = 10_000

/**
 * Sessions on the server, by an id that cannot be guessed. One ends after 30 minutes without a request, after 8 hours in any
 * case, and when 10,000 newer ones push it out. Kept in memory: a restart ends all. Several processes need a shared store.
 * Nothing but the person at this browser ends one earlier: there is no back-channel logout.
 */
export class SessionStore {
  readonly #clock: Clock
  readonly #sessions: LRUCache<string, Session>

  constructor(clock: Clock) {
    this.#clock = clock
    this.#sessions = new LRUCache({
      max: maxSessions,
      ttl: idleMs,
      ttlResolution: 0,
      updateAgeOnGet: true,
      perf: { now: () => clock.nowMs() },
    })
  }

  /**
   * Starts a session in place of the one before, under a new id, which it returns. An id that somebody knew or planted before
   * is worth nothing from here on (session fixation).
   */
  renew(oldId: string | undefined, session: Session): string {
    if (oldId !== undefined) this.#sessions.delete(oldId)
    const id = randomBytes(32).toString('base64url')
    this.#sessions.set(id, session)
    return id
  }

  find(id: string | undefined): Session | undefined {
    const session = id === undefined ? undefined : this.#sessions.get(id)
    return session === undefined || this.#clock.nowMs() - session.startedMs > longestMs ? undefined : session
  }

  end(id: string | undefined): void {
    if (id !== undefined) this.#sessions.delete(id)
  }
}
