import type { Clock } from '../core/clock.js'
import { digestOf } from './key-digest.js'
import type { Claim, ReplayOutcome, ReplayStore } from './replay-store.js'

export interface ProofReplayStoreOptions {
  maxEntries: number
  clock: Clock
}

/** Keys that expire within the same span are forgotten together. */
interface Generation {
  digests: Set<string>
  /** How many of them each holder has. */
  heldBy: Map<string, number>
}

/** How many proofs a process remembers, in 30 to 90 MB: of over 3000 requests a second, as one is kept for up to 151 s. */
export const maxProofs = 500_000
const generationMs = 10_000
/** A holder has room as long as it holds less than this part of what is left for everyone. */
const shareOfRoom = 1 / 4

/**
 * Used DPoP proofs in this process's memory: short-lived keys, of many holders. Refuses when full. What each holder may
 * take is a share of the room that is left: one alone gets a fifth of the store, the next a fifth of the rest, so that none
 * locks out another. For keys that live minutes: one is looked for in every span of ten seconds that is remembered.
 */
export class ProofReplayStore implements ReplayStore {
  readonly retention = 'process'
  readonly isReachable = true
  readonly #options: ProofReplayStoreOptions
  /** By number of the span in which the keys expire. */
  readonly #generations = new Map<number, Generation>()
  #size = 0

  constructor(options: ProofReplayStoreOptions) {
    this.#options = options
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#size
  }

  async consume({ key, expiresAtMs, holder = '' }: Claim): Promise<ReplayOutcome> {
    this.#forgetExpired()
    const digest = digestOf(key)
    let held = 0
    for (const { digests, heldBy } of this.#generations.values()) {
      if (digests.has(digest)) return 'replayed'
      held += heldBy.get(holder) ?? 0
    }
    if (held >= (this.#options.maxEntries - this.#size) * shareOfRoom) return 'full'
    this.#remember(digest, holder, Math.floor(expiresAtMs / generationMs))
    return 'consumed'
  }

  async release({ key, expiresAtMs, holder = '' }: Claim): Promise<void> {
    const generation = this.#generations.get(Math.floor(expiresAtMs / generationMs))
    if (generation?.digests.delete(digestOf(key)) !== true) return
    generation.heldBy.set(holder, (generation.heldBy.get(holder) as number) - 1)
    this.#size -= 1
  }

  #remember(digest: string, holder: string, number: number): void {
    const generation = this.#generations.get(number) ?? { digests: new Set(), heldBy: new Map() }
    this.#generations.set(number, generation)
    generation.digests.add(digest)
    generation.heldBy.set(holder, (generation.heldBy.get(holder) ?? 0) + 1)
    this.#size += 1
  }

  #forgetExpired(): void {
    const current = Math.floor(this.#options.clock.nowMs() / generationMs)
    for (const [number, { digests }] of this.#generations) {
      if (number >= current) continue
      this.#generations.delete(number)
      this.#size -= digests.size
    }
  }
}
