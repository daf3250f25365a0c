import { randomUUID } from 'node:crypto'
import type { Claim } from '#src/replay/replay-store.js'

/** A claim of its own on a key. */
export function claim(key: string, expiresAtMs = 1000): Claim {
  return { key, id: randomUUID(), expiresAtMs }
}
