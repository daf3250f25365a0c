import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../core/clock.js'
import type { Ledger } from './ledger.js'

const intervalMs = 60_000

/**
 * Forgets what is past its time, once a minute, batch after batch with a turn of the event loop between, so that bookings
 * go on. A failed round is reported and left to the next one. Returns the function that stops it.
 */
export function startPruning(ledger: Ledger, clock: Clock, onFault: (error: unknown) => void): () => void {
  const timer = setInterval(() => void pruneAll(ledger, clock).catch(onFault), intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** Prunes until nothing is left to forget. Returns how many rows that were. */
export async function pruneAll(ledger: Ledger, clock: Clock): Promise<number> {
  let total = 0
  for (;;) {
    const pruned = await ledger.prune(clock.nowMs())
    if (pruned === 0) return total
    total += pruned
    await nextTurn()
  }
}
