import { Readable } from 'node:stream'
import type { LightMyRequestResponse } from 'fastify'
import type { Deployment, Replica } from './replicas.js'
import { mint, type Subject, type Token } from './tokens.js'
import { type Answer, type Attempt, type Step, Violation } from './world.js'

const ibans: Record<Subject, string> = { alice: 'DE89370400440532013000', bob: 'GB33BUKB20201555555555' }
const unknownIban = 'DE75512108001245126199'

/** Few and small, so that money runs out. */
export const openings = (['alice', 'bob'] as const).map((subject) => {
  return { subject, iban: ibans[subject], name: 'Current', currency: 'EUR', balanceMinorUnits: 10_000n }
})

const bodies = ['30.00', '30.0', '45.00', '500.00', 'unknown'] as const
const keys = ['k1', 'k2'] as const
/** Tokens are issued at whole steps of time, so that schedules share them. */
const issueStepSeconds = 5
/** How far the issuer's clock can be ahead of the true time. */
const issuerLeadsSeconds = [0, 0, 5] as const
const mostTokensOfOneSecond = 4

/** What a request says. */
interface Content {
  replica: Replica
  token: Token
  key: string | undefined
  body: string
}

/** Somebody who sends transfers, sends them again in every way, and loses track. */
export class Client {
  readonly attempts: Attempt[] = []
  readonly #deployment: Deployment
  #left: number
  /** Bodies that have not been sent yet, by their request. */
  readonly #heldBack = new Map<Attempt, () => void>()
  readonly #issued = new Set<Token>()

  constructor(deployment: Deployment) {
    this.#deployment = deployment
    this.#left = 2 + deployment.world.random.below(5)
  }

  get slowAttempts(): Iterable<Attempt> {
    return this.#heldBack.keys()
  }

  /** Whether it has sent all that it will. */
  get isDone(): boolean {
    return this.#left === 0 && this.#heldBack.size === 0
  }

  /** What it has begun goes on. */
  steps(): Step[] {
    return [...this.#heldBack].map(([{ number }, run]) => ({ weight: 3, name: `#${number} sends its body`, run }))
  }

  /** It begins something. */
  beginnings(): Step[] {
    if (this.#left === 0) return []
    const run = () => {
      this.#left -= 1
      const { random, allowed } = this.#deployment.world
      this.send(this.#compose(), allowed.has('slow-body') && random.chance(0.3))
    }
    return [{ weight: 7, name: 'the client goes on', run }]
  }

  /** Sends a request; it runs until it waits or is answered. */
  send(content: Content, holdBackBody = false): Attempt {
    const { world } = this.#deployment
    const attempt: Attempt = {
      ...content,
      number: this.attempts.length,
      sentMs: world.nowMs,
      state: 'running',
      answer: undefined,
    }
    this.attempts.push(attempt)
    const { replica, token, key, body, number } = attempt
    world.note(
      `#${number} ${replica.name} ${token.name} ${key ?? 'without key'} ${body}${holdBackBody ? ' slowly' : ''}`,
    )
    replica.live.add(attempt)
    world.resume(attempt)
    const payload = JSON.stringify(toJson(attempt))
    const headers = {
      authorization: `Bearer ${token.text}`,
      'content-type': 'application/json',
      'content-length': String(payload.length),
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    }
    const sent = replica.slot.app.inject({
      method: 'POST',
      url: '/transfers',
      headers,
      payload: holdBackBody ? this.#holdBack(attempt, payload) : payload,
    })
    sent.then((response) => this.#receive(attempt, response)).catch((error: unknown) => world.fail(error))
    return attempt
  }

  /** A token that the subject has not got yet and that is valid now. */
  issue(subject: Subject): Token {
    const { random, nowMs } = this.#deployment.world
    const atSeconds = nowMs / 1000 + random.pick(issuerLeadsSeconds)
    const issuedAtSeconds = Math.floor(atSeconds / issueStepSeconds) * issueStepSeconds
    const number = random.below(2)
    for (let more = number; more < number + mostTokensOfOneSecond; more += 1) {
      const token = mint(subject, issuedAtSeconds, more)
      if (this.#issued.has(token)) continue
      this.#issued.add(token)
      return token
    }
    return mint(subject, issuedAtSeconds, number)
  }

  #receive(attempt: Attempt, { statusCode, headers, body }: LightMyRequestResponse): void {
    if (attempt.state === 'lost') return
    const { type, transferId } = JSON.parse(body) as { type?: string; transferId?: string }
    const answer: Answer = {
      status: statusCode,
      problem: type?.split('/').at(-1),
      transferId,
      replayed: headers['idempotency-replayed'] === 'true',
    }
    this.#heldBack.delete(attempt)
    attempt.replica.live.delete(attempt)
    const { world } = this.#deployment
    const told = `${answer.problem ?? transferId?.slice(-9)}${answer.replayed ? ' replayed' : ''}`
    world.note(`#${attempt.number} ${statusCode} ${told}`)
    world.finish(attempt, answer)
  }

  #holdBack(attempt: Attempt, payload: string): Readable {
    const { world } = this.#deployment
    const stream = new Readable({
      read: () => {
        if (this.#heldBack.has(attempt) || attempt.state !== 'running') return
        world.pause()
        this.#heldBack.set(attempt, () => {
          this.#heldBack.delete(attempt)
          if (attempt.state === 'lost') return
          world.resume(attempt)
          stream.push(payload)
          stream.push(null)
        })
      },
    })
    return stream
  }

  #compose(): Content {
    const { world, replicas } = this.#deployment
    const { random } = world
    const replica = random.pick(replicas) as Replica
    // Races need requests at a time, so what is still under way is repeated more often than what is over.
    const waiting = this.attempts.filter(({ state }) => state === 'waiting')
    const known = random.pick(random.chance(0.4) && waiting.length > 0 ? waiting : this.attempts)
    const way = random.next()
    if (known === undefined || way < 0.2) {
      const key = random.chance(0.5) ? random.pick(keys) : undefined
      const body = random.chance(0.7) ? bodies[0] : random.pick(bodies)
      return { replica, token: this.issue(random.chance(0.7) ? 'alice' : 'bob'), key, body }
    }
    const { token, key, body } = known
    if (way < 0.58) return { replica, token, key, body }
    if (way < 0.66) return { replica, token, key: random.chance(0.5) ? undefined : random.pick(keys), body }
    if (way < 0.73) return { replica, token, key, body: random.pick(bodies) }
    if (way < 0.94) return { replica, token: this.issue(token.subject), key, body }
    return { replica, token: this.issue(token.subject === 'alice' ? 'bob' : 'alice'), key, body }
  }
}

function toJson({ token, body }: Attempt): unknown {
  return {
    debtorAccount: { iban: ibans[token.subject] },
    creditorAccount: { iban: body === 'unknown' ? unknownIban : ibans[token.subject === 'alice' ? 'bob' : 'alice'] },
    instructedAmount: { currency: 'EUR', amount: body === 'unknown' ? '1.00' : body },
  }
}

/** The digest that tells bodies apart tells them apart by their meaning. */
export function meaningOf(body: string): string {
  return body === 'unknown' ? body : String(Number(body))
}

export function answerOf({ number, answer }: Attempt): Answer {
  if (answer === undefined) throw new Violation(`#${number} was never answered`)
  return answer
}
