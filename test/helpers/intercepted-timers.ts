import type { Test } from 'tap'

/** A timer that waits for a test to let it ring. */
export interface InterceptedTimer {
  delayMs: number
  cleared: boolean
  ring(): void
  unref(): void
}

type SetTimer = (run: () => void, delayMs: number, ...rest: unknown[]) => unknown

/**
 * Holds back timers and intervals of these delays until the end of the test, so that minutes pass when it says so; all
 * others run as always. Only for code that keeps no time of its own: clocks are injected.
 */
export function interceptTimers(t: Test, delaysMs: readonly number[]): InterceptedTimer[] {
  const timers: InterceptedTimer[] = []
  const holdBack =
    (set: SetTimer): SetTimer =>
    (run, delayMs, ...rest) => {
      if (!delaysMs.includes(delayMs)) return set(run, delayMs, ...rest)
      const timer = { delayMs, cleared: false, ring: run, unref: () => undefined }
      timers.push(timer)
      return timer
    }
  const letGo = (clear: (timer: never) => void) => (timer: unknown) => {
    const intercepted = timers.find((one) => one === timer)
    if (intercepted === undefined) clear(timer as never)
    else intercepted.cleared = true
  }
  t.intercept(globalThis, 'setTimeout', { value: holdBack(globalThis.setTimeout as SetTimer) })
  t.intercept(globalThis, 'setInterval', { value: holdBack(globalThis.setInterval as SetTimer) })
  t.intercept(globalThis, 'clearTimeout', { value: letGo(globalThis.clearTimeout) })
  t.intercept(globalThis, 'clearInterval', { value: letGo(globalThis.clearInterval) })
  return timers
}
