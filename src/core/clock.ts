/** The source of time, passed in wherever time matters so that a test can step it. It may be set back. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number
}

/** The machine's wall clock. */
export const systemClock: Clock = { nowMs: () => Date.now() }
