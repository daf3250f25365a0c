import type { Clock } from './clock.js'

const maxFailures = 5
const lockMs = 300_000
const maxNames = 10_000

/** Counts failed attempts by name. */
export interface AttemptLimit {
  /**
   * Counts an attempt as failed and returns undefined, or returns the seconds to wait when the name is locked. Counting
   * comes before the check itself, so guesses sent side by side cannot outrun it.
   */
  begin(name: string): number | undefined
  /** Forgets the failures of a name whose attempt turned out right. */
  succeed(name: string): void
}

/**
 * Five failures lock a name for five minutes from the last one. Remembers at most 10,000 names, oldest out first. Kept
 * in memory: a restart forgets. Anyone can lock a name this way; a product would slow the guesser down, not the user.
 */
export function createAttemptLimit(clock: Clock): AttemptLimit {
  const failures = new Map<string, { count: number; lastMs: number }>()
  return {
    begin(name) {
      const nowMs = clock.nowMs()
      const known = failures.get(name)
      const remainingMs = known === undefined ? 0 : known.lastMs + lockMs - nowMs
      const count = known !== undefined && remainingMs > 0 ? known.count : 0
      if (count >= maxFailures) return Math.ceil(remainingMs / 1000)
      failures.delete(name)
      failures.set(name, { count: count + 1, lastMs: nowMs })
      const [oldest] = failures.keys()
      if (failures.size > maxNames && oldest !== undefined) failures.delete(oldest)
      return undefined
    },
    succeed(name) {
      failures.delete(name)
    },
  }
}
