interface Asked<Question, Answer> {
  question: Question
  resolve: (answer: Answer) => void
  reject: (error: unknown) => void
}

const maxGroupSize = 64

/**
 * Lets up to 64 reads that arrive in one turn of the event loop share one call into the database, because a call costs more than
 * most of what it does. Nobody waits for it: a read that arrives alone is carried out alone. Each sees what was committed before it
 * was asked for.
 */
export class GroupRead<Question, Answer> {
  readonly #read: (questions: readonly Question[]) => readonly Answer[]
  readonly #asked: Asked<Question, Answer>[] = []

  /** @param read answers some questions in the same order; what it throws, each of their callers is told */
  constructor(read: (questions: readonly Question[]) => readonly Answer[]) {
    this.#read = read
  }

  /** Rejects with what `read` threw. */
  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#asked.push({ question, resolve, reject }) === 1) this.#schedule()
    })
  }

  #schedule(): void {
    setImmediate(() => this.#answer())
  }

  #answer(): void {
    const group = this.#asked.splice(0, maxGroupSize)
    if (this.#asked.length > 0) this.#schedule()
    try {
      const answers = this.#read(group.map(({ question }) => question))
      for (const [index, { resolve }] of group.entries()) resolve(answers[index] as Answer)
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }
}
