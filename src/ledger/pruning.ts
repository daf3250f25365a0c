import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../core/clock.js'
import type { Ledger } from './ledger.js'

const intervalMs = 60_000

/**
 * Forgets what is past its time, once a minute, batch after batch with a turn of the event loop between, so that bookings
 * go on. A failed round is reported and left to the next one. Returns the function that stops it, which resolves when the batch
 * under way has ended: only then may the ledger be closed.
 */
export function startPruning(ledger: Ledger, clock: Clock, onFault: (error: unknown) => void): () => Promise<void> {
  const stopping = new AbortController()
  let round: Promise<unknown> | undefined
  const timer = setInterval(() => {
    round ??= pruneAll(ledger, clock, stopping.signal)
      .catch(onFault)
      .finally(() => {
        round = undefined
      })
  }, intervalMs)
  timer.unref()
  return async () => {
    clearInterval(timer)
    stopping.abort()
    await round
  }
}

/** Prunes until nothing is left to forget or the signal says stop. Returns how many rows that were. */
export async function pruneAll(ledger: Ledger, clock: Clock, signal?: AbortSignal): Promise<number> {
  let total = 0
  while (signal?.aborted !== true) {
    const pruned = await ledger.prune(clock.nowMs())
    if (pruned === 0) break
    total += pruned
    await nextTurn()
  }
  return total
}
