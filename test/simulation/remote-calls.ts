import { LedgerUnavailable, OutcomeUnknown } from '#src/ledger/ledger.js'
import type { Attempt, Step, World } from './world.js'

/** A transaction of a remote system. */
export interface Transaction<T> {
  name: string
  /** What it does, at once and whole, whenever that will be. */
  commit(attempt: Attempt | undefined): T
  /** Another answer that it may get without doing anything; undefined when it cannot. */
  evade?(): { name: string; answer: T } | undefined
  /** Whether an answer is read in another transaction, which can be refused: what was decided is not told then. */
  isOnlyRead?(answer: T): boolean
}

interface Call {
  transaction: Transaction<unknown>
  attempt: Attempt | undefined
  /** `late`: nobody waits any more, but it may still be done. */
  state: 'sent' | 'committed' | 'late'
  answer: unknown
  resolve(answer: never): void
  reject(error: Error): void
}

/** Transactions on their way to the ledger, or to another system that moves money, and everything that can happen to them. */
export class RemoteCalls {
  readonly #world: World
  #calls: Call[] = []

  constructor(world: World) {
    this.#world = world
  }

  get isIdle(): boolean {
    return this.#calls.length === 0
  }

  submit<T>(transaction: Transaction<T>): Promise<T> {
    const attempt = this.#world.pause()
    return new Promise<T>((resolve, reject) => {
      this.#calls.push({ transaction, attempt, state: 'sent', answer: undefined, resolve, reject })
    })
  }

  /** Whether another transaction of this name is under way. */
  hasOther(name: string, own: Transaction<unknown>): boolean {
    return this.#calls.some(({ transaction }) => transaction.name === name && transaction !== own)
  }

  /** The requests of a replica that died wait no more; what they sent may still be done. */
  abandon(attempts: ReadonlySet<Attempt>): void {
    const abandoned = this.#calls.filter(({ attempt }) => attempt !== undefined && attempts.has(attempt))
    for (const call of abandoned) {
      if (call.state === 'committed') this.#remove(call)
      else call.state = 'late'
    }
  }

  steps(): Step[] {
    return this.#calls.flatMap((call) => {
      if (call.state === 'late') return this.#lateSteps(call)
      return call.state === 'sent' ? this.#sentSteps(call) : this.#committedSteps(call)
    })
  }

  #sentSteps(call: Call): Step[] {
    const { allowed } = this.#world
    const steps = [
      this.#step(call, 10, 'commits and answers', () => {
        this.#commit(call)
        this.#deliver(call)
      }),
      this.#step(call, 4, 'commits', () => this.#commit(call)),
    ]
    if (allowed.has('refusal')) {
      steps.push(this.#step(call, 3, 'is refused', () => this.#fail(call, new LedgerUnavailable('refused'))))
    }
    if (allowed.has('lost-request')) {
      steps.push(this.#step(call, 2, 'is lost', () => this.#fail(call, new OutcomeUnknown('lost'))))
    }
    if (allowed.has('late-commit')) {
      steps.push(
        this.#step(call, 2, 'is given up', () => {
          this.#fail(call, new OutcomeUnknown('given up'))
          this.#calls.push({ ...call, state: 'late' })
        }),
      )
    }
    const evasion = call.transaction.evade?.()
    if (evasion !== undefined) {
      steps.push(
        this.#step(call, 2, evasion.name, () => {
          call.answer = evasion.answer
          this.#deliver(call)
        }),
      )
    }
    return steps
  }

  #committedSteps(call: Call): Step[] {
    const { allowed } = this.#world
    const steps = [this.#step(call, 8, 'answers', () => this.#deliver(call))]
    if (allowed.has('lost-answer')) {
      steps.push(this.#step(call, 3, 'loses its answer', () => this.#fail(call, new OutcomeUnknown('answer lost'))))
    }
    if (allowed.has('refusal') && call.transaction.isOnlyRead?.(call.answer) === true) {
      steps.push(this.#step(call, 2, 'cannot be read', () => this.#fail(call, new OutcomeUnknown('not read'))))
    }
    return steps
  }

  #lateSteps(call: Call): Step[] {
    return [
      this.#step(call, 2, 'commits late', () => {
        this.#commit(call)
        this.#remove(call)
      }),
      this.#step(call, 1, 'never comes', () => this.#remove(call)),
    ]
  }

  #step({ transaction, attempt }: Call, weight: number, what: string, run: () => void): Step {
    return { weight, name: `#${attempt?.number} ${transaction.name} ${what}`, run }
  }

  #commit(call: Call): void {
    call.answer = call.transaction.commit(call.attempt)
    call.state = 'committed'
  }

  #deliver(call: Call): void {
    this.#remove(call)
    this.#world.resume(call.attempt)
    call.resolve(call.answer as never)
  }

  #fail(call: Call, error: Error): void {
    if (error instanceof OutcomeUnknown && call.attempt !== undefined) this.#world.mayBeBurnt.add(call.attempt.token)
    this.#remove(call)
    this.#world.resume(call.attempt)
    call.reject(error)
  }

  #remove(call: Call): void {
    this.#calls = this.#calls.filter((one) => one !== call)
  }
}
