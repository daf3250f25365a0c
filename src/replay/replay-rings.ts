import type { Claim, ReplayOutcome, ReplayStore } from './replay-store.js'

export interface ReplayRingsOptions {
  /** This process's memory: asked first, because it answers without a round trip. It may forget. */
  local: ReplayStore
  /** The memory of all replicas. */
  shared: ReplayStore
  /**
   * Whether the local answer counts while the shared ring does not answer, and what the shared ring refused is remembered here as well.
   * Only for what need not be single-use among replicas at all costs and is never given back, such as DPoP proofs; with a local
   * store that refuses when full.
   */
  localStandsIn?: boolean
}

/**
 * The rings in front of the ledger, from the inside out: this process's memory, then the one that all replicas share. A key
 * counts as consumed only when both say so. Unless `localStandsIn`, a replay that the shared ring reports is not remembered
 * locally, because whoever holds that claim may give it back, and when the shared ring does not answer, the local claim stands
 * and the outcome is `unreachable`: the caller goes on if a ledger decides behind the rings, and otherwise refuses and releases.
 */
export class ReplayRings implements ReplayStore {
  readonly #local: ReplayStore
  readonly #shared: ReplayStore
  readonly #localStandsIn: boolean

  constructor({ local, shared, localStandsIn = false }: ReplayRingsOptions) {
    this.#local = local
    this.#shared = shared
    this.#localStandsIn = localStandsIn
  }

  get retention(): ReplayStore['retention'] {
    return this.#shared.retention
  }

  get isReachable(): boolean {
    return this.#local.isReachable && this.#shared.isReachable
  }

  async consume(claim: Claim): Promise<ReplayOutcome> {
    const local = await this.#local.consume(claim)
    if (local === 'replayed' || (this.#localStandsIn && local === 'full')) return local
    const outcome = await this.#shared.consume(claim)
    if (this.#localStandsIn) return outcome === 'unreachable' ? local : outcome
    if (outcome === 'replayed') await this.#local.release(claim)
    return outcome
  }

  /** From the outside in, so that whoever claims the key here next finds it free there. */
  async release(claim: Claim): Promise<void> {
    await this.#shared.release(claim)
    await this.#local.release(claim)
  }
}
