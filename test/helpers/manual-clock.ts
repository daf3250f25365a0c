import type { Clock } from '#src/core/clock.js'

/** A clock that stands still until it is told to move. */
export class ManualClock implements Clock {
  #nowMs: number

  constructor(nowMs = Date.now()) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  get nowSeconds(): number {
    return Math.floor(this.#nowMs / 1000)
  }

  advance(milliseconds: number): void {
    this.#nowMs += milliseconds
  }
}
