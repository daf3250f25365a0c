import type { RemoteCalls } from './remote-calls.js'
import type { Attempt } from './world.js'

/** A system of another team's that moves money whenever it is asked: it knows nothing of tokens. */
export interface Payments {
  /** Throws `LedgerUnavailable` when certainly nothing moved and `OutcomeUnknown` when that cannot be said. */
  pay(jwtId: string): Promise<string>
}

export interface Paid {
  attempt: Attempt
  jwtId: string
  id: string
}

export class ModelPayments implements Payments {
  /** Every payment, oldest first. */
  readonly history: Paid[] = []
  readonly #calls: RemoteCalls

  constructor(calls: RemoteCalls) {
    this.#calls = calls
  }

  pay(jwtId: string): Promise<string> {
    return this.#calls.submit({
      name: 'payment',
      commit: (attempt) => {
        const id = `payment-${this.history.length}`
        this.history.push({ attempt: attempt as Attempt, jwtId, id })
        return id
      },
    })
  }
}
