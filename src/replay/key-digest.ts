import { hash } from 'node:crypto'

/**
 * 96 bits of SHA-256, for a quarter of the key's memory. That two of a million tokens share them has a probability below
 * 10^-17, and the later one would be refused: no token passes twice. V8 copies a slice of up to 12 characters, while a longer
 * one would keep the whole digest alive.
 */
export function digestOf(key: string): string {
  return hash('sha256', key, 'binary').slice(0, 12)
}
