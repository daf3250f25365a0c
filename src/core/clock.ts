/** The source of time, passed in wherever time matters so that a test can step it. It never runs backwards on its own account. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number
}

/** The machine's wall clock. */
export const systemClock: Clock = { nowMs: () => Date.now() }
