import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { auditBank, type Books } from './bank-audit.js'
import { readAnswer, type TokenMint, transferBody } from './test-api.js'

/** Sooner than servers ask for, so that a test sees many refusals; but not at once, since an outage would be a flood. */
const retryMs = 100

/** What a client learned from one attempt. */
export interface PaymentAnswer {
  status: number
  /** Name of the refusal. */
  problem: string | undefined
  transferId: string | undefined
  replayed: boolean
  retryAfter: string | null
  tookMs: number
}

/** A payment that a client wants to happen once, and all that was answered to its attempts. */
export interface Payment {
  /** Stands as remittance information, so that the books tell payments apart. */
  name: string
  token: string
  key: string | undefined
  body: Record<string, unknown>
  answers: PaymentAnswer[]
}

export interface PaymentChanges {
  subject?: string
  /** With a key of its own unless told otherwise. */
  keyed?: boolean
  body?: Record<string, unknown>
}

/** Clients that pay a cent at a time and remember what they were told. */
export class Payer {
  readonly payments: Payment[] = []
  readonly #tokens: TokenMint

  constructor(tokens: TokenMint) {
    this.#tokens = tokens
  }

  get answers(): PaymentAnswer[] {
    return this.payments.flatMap(({ answers }) => answers)
  }

  /** Ids of all transfers that were acknowledged, once each. */
  get acknowledged(): string[] {
    return [...new Set(this.answers.map(({ transferId }) => transferId).filter((id) => id !== undefined))]
  }

  /** A payment that was not sent yet. */
  prepare({ subject = 'alice', keyed = true, body = {} }: PaymentChanges = {}): Payment {
    const name = randomUUID()
    const cent = { instructedAmount: { currency: 'EUR', amount: '0.01' }, remittanceInformationUnstructured: name }
    const payment = {
      name,
      token: this.#tokens.transfer({ sub: subject }),
      key: keyed ? randomUUID() : undefined,
      body: transferBody({ ...cent, ...body }),
      answers: [],
    }
    this.payments.push(payment)
    return payment
  }

  /** Sends a payment, or sends it again. Rejects when there is no answer at all. */
  async send(url: string, payment: Payment, token = payment.token): Promise<PaymentAnswer> {
    const startedMs = performance.now()
    const response = await fetch(`${url}/transfers`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(payment.key === undefined ? {} : { 'idempotency-key': payment.key }),
      },
      body: JSON.stringify(payment.body),
    })
    const { status, headers, body } = await readAnswer('POST', '/transfers', response)
    const answer = {
      status,
      problem: (body['type'] as string | undefined)?.split('/').at(-1),
      transferId: body['transferId'] as string | undefined,
      replayed: headers.get('idempotency-replayed') === 'true',
      retryAfter: headers.get('retry-after'),
      tookMs: performance.now() - startedMs,
    }
    payment.answers.push(answer)
    return answer
  }

  pay(url: string, changes: PaymentChanges = {}): Promise<PaymentAnswer> {
    return this.send(url, this.prepare(changes))
  }

  /**
   * Clients that pay one payment after the other, and repeat one that was refused until it is booked. Returns how to stop them,
   * which waits for what is under way.
   */
  startPaying(url: string, clients: number, changes: () => PaymentChanges = () => ({})): () => Promise<void> {
    let stopping = false
    const client = async (): Promise<void> => {
      while (!stopping) {
        const payment = this.prepare(changes())
        while ((await this.send(url, payment)).status !== 201 && !stopping) await delay(retryMs)
      }
    }
    const paying = Promise.all(Array.from({ length: clients }, client))
    // Who stops them is told; until then a failure is nobody's.
    paying.catch(() => undefined)
    return async () => {
      stopping = true
      await paying
    }
  }

  count(matches: (answer: PaymentAnswer) => boolean): number {
    return this.answers.filter(matches).length
  }
}

/**
 * What must hold once a fault is over: nobody waited too long or was told anything but the refusals that the fault allows; the
 * same token and key find the truth for every payment, whatever was answered before; and the books agree.
 */
export async function settlePayments(
  t: Test,
  payer: Payer,
  { url, where, allowed = [] }: { url: string; where: string; allowed?: readonly string[] },
): Promise<Books> {
  const slowestMs = Math.max(...payer.answers.map(({ tookMs }) => tookMs))
  t.ok(slowestMs < 2500, `nobody waited longer than ${Math.round(slowestMs)} ms`)
  const told = new Set(payer.answers.map(({ status, problem }) => `${status} ${problem ?? 'booked'}`))
  const expected = ['201 booked', ...allowed.map((problem) => `503 ${problem}`)]
  t.strictSame(
    [...told].filter((one) => !expected.includes(one)),
    [],
    'nobody was told anything else',
  )
  t.ok(
    payer.answers.every(({ status, retryAfter }) => status === 201 || /^[1-9]\d*$/.test(retryAfter ?? '')),
    'a refusal says when to come back',
  )
  await auditBank(t, where, payer.acknowledged)
  const keyed = payer.payments.filter(({ key }) => key !== undefined)
  const queue = [...keyed]
  const client = async (): Promise<void> => {
    for (let payment = queue.pop(); payment !== undefined; payment = queue.pop()) await payer.send(url, payment)
  }
  await Promise.all(Array.from({ length: 16 }, client))
  const wrong = keyed.filter(({ answers }) => {
    const ids = new Set(answers.map(({ transferId }) => transferId).filter((id) => id !== undefined))
    const last = answers.at(-1) as PaymentAnswer
    const wasAcknowledged = answers.slice(0, -1).some(({ status }) => status === 201)
    return last.status !== 201 || ids.size !== 1 || (wasAcknowledged && !last.replayed)
  })
  t.strictSame(wrong, [], 'the same token and key find the one transfer of each payment')
  const books = await auditBank(t, where, payer.acknowledged)
  const booked = new Set(books.transfers.map(({ payment }) => payment))
  t.strictSame(
    keyed.filter(({ name }) => !booked.has(name)),
    [],
    'every payment with a key has happened',
  )
  return books
}
