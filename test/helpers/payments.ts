import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { auditBank, type Books } from './bank-audit.js'
import { readAnswer, type TokenMint, transferBody } from './test-api.js'

/** Sooner than servers ask for, so that a test sees many refusals; but not at once, since an outage would be a flood. */
const retryMs = 100
/** A transfer is answered within about two seconds; on a busy machine this is more than enough. */
const patienceMs = 8000
/** Which of the clients that pay one payment after the other do so without a key. */
const bareShare = 4
const usedAlready = 'token-already-used'

/** What a client learned from one attempt. */
export interface PaymentAnswer {
  /** 0 when there was neither an answer nor an end of the connection for too long. */
  status: number
  /** Name of the refusal; `hung` without an answer. */
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
  subject: string
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
      subject,
      token: this.#tokens.transfer({ sub: subject }),
      key: keyed ? randomUUID() : undefined,
      body: transferBody({ ...cent, ...body }),
      answers: [],
    }
    this.payments.push(payment)
    return payment
  }

  /** Sends a payment, or sends it again. Rejects when the connection breaks. */
  async send(url: string, payment: Payment, token = payment.token): Promise<PaymentAnswer> {
    const answer = await attempt(url, payment, token)
    payment.answers.push(answer)
    return answer
  }

  /** Sends a payment with a token that was never used before, of the same client. */
  sendAfresh(url: string, payment: Payment): Promise<PaymentAnswer> {
    return this.send(url, payment, this.#tokens.transfer({ sub: payment.subject }))
  }

  pay(url: string, changes: PaymentChanges = {}): Promise<PaymentAnswer> {
    return this.send(url, this.prepare(changes))
  }

  /**
   * Clients that pay one payment after the other, and repeat one that was refused until it is booked. Every fourth has no keys,
   * and stops repeating when it is told that the token was used. Returns how to stop them, which waits for what is under way.
   */
  startPaying(url: string, clients: number, changes: () => PaymentChanges = () => ({})): () => Promise<void> {
    let stopping = false
    const client = async (keyed: boolean): Promise<void> => {
      while (!stopping) {
        const payment = this.prepare({ keyed, ...changes() })
        while (![201, 401].includes((await this.send(url, payment)).status) && !stopping) await delay(retryMs)
      }
    }
    const paying = Promise.all(Array.from({ length: clients }, (_, n) => client(n % bareShare !== 0)))
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

async function attempt(url: string, { key, body }: Payment, token: string): Promise<PaymentAnswer> {
  const startedMs = performance.now()
  const deadline = AbortSignal.timeout(patienceMs)
  try {
    const response = await fetch(`${url}/transfers`, {
      method: 'POST',
      signal: deadline,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      body: JSON.stringify(body),
    })
    const { status, headers, body: answer } = await readAnswer('POST', '/transfers', response)
    return {
      status,
      problem: (answer['type'] as string | undefined)?.split('/').at(-1),
      transferId: answer['transferId'] as string | undefined,
      replayed: headers.get('idempotency-replayed') === 'true',
      retryAfter: headers.get('retry-after'),
      tookMs: performance.now() - startedMs,
    }
  } catch (error) {
    if (!deadline.aborted) throw error
    const tookMs = performance.now() - startedMs
    return { status: 0, problem: 'hung', transferId: undefined, replayed: false, retryAfter: null, tookMs }
  }
}

/**
 * What must hold once a fault is over: nobody waited too long or was told anything but the refusals that the fault allows; the
 * same token and key find the truth for every payment, whatever was answered before, and so does a fresh token with the same
 * key; no token that moved money is accepted again; and the books agree.
 */
export async function settlePayments(
  t: Test,
  payer: Payer,
  { url, where, allowed = [] }: { url: string; where: string; allowed?: readonly string[] },
): Promise<Books> {
  expectAnswers(t, payer, allowed)
  await auditBank(t, where, payer.acknowledged)
  const keyed = payer.payments.filter(({ key }) => key !== undefined)
  await forEach(keyed, (payment) => insist(() => payer.send(url, payment)))
  const afresh = new Set(keyed.filter((_, n) => n % 4 === 0))
  await forEach([...afresh], (payment) => insist(() => payer.sendAfresh(url, payment)))
  const wrong = keyed.filter((payment) => {
    const { answers } = payment
    const ids = new Set(answers.map(({ transferId }) => transferId).filter((id) => id !== undefined))
    const last = answers.at(-1) as PaymentAnswer
    const mustBeKnown = afresh.has(payment) || answers.slice(0, -1).some(({ status }) => status === 201)
    return last.status !== 201 || ids.size !== 1 || (mustBeKnown && !last.replayed)
  })
  t.strictSame(
    wrong,
    [],
    'the same key finds the one transfer of each payment, with the same token and with a fresh one',
  )

  const { transfers } = await auditBank(t, where, payer.acknowledged)
  const booked = new Set(transfers.map(({ payment }) => payment))
  t.strictSame(
    keyed.filter(({ name }) => !booked.has(name)),
    [],
    'every payment with a key has happened',
  )
  const spent = payer.payments.filter(({ name }) => booked.has(name)).map(withoutKey)
  await forEach(spent, (payment) => payer.send(url, payment))
  t.strictSame(
    spent.filter(({ answers: [answer] }) => answer?.status !== 401 || answer.problem !== usedAlready),
    [],
    'no token that moved money is accepted again',
  )
  return auditBank(t, where, payer.acknowledged)
}

/** Asks again after a 503, as it says, for ten seconds: a replica may notice a moment later than others that a fault is over. */
async function insist(ask: () => Promise<PaymentAnswer>): Promise<void> {
  for (let tries = 0; tries < 40 && (await ask()).status === 503; tries += 1) await delay(250)
}

function expectAnswers(t: Test, payer: Payer, allowed: readonly string[]): void {
  const slowestMs = Math.max(...payer.answers.map(({ tookMs }) => tookMs))
  t.ok(slowestMs < 2500, `nobody waited longer than ${Math.round(slowestMs)} ms`)
  const expected = ['201 booked', ...allowed.map((problem) => `503 ${problem}`)]
  const unexpected = payer.payments.flatMap(({ key, answers }) =>
    answers
      // Without a key nothing but the token tells that a payment may have happened whose outcome was unknown.
      .filter(
        (answer, n) => !(key === undefined && answer.problem === usedAlready && answers.slice(0, n).some(isUnknown)),
      )
      .map(({ status, problem }) => `${status} ${problem ?? 'booked'}`)
      .filter((told) => !expected.includes(told)),
  )
  t.strictSame([...new Set(unexpected)], [], 'nobody was told anything else')
  t.ok(
    payer.answers.every(({ status, retryAfter }) => status !== 503 || /^[1-9]\d*$/.test(retryAfter ?? '')),
    'a refusal says when to come back',
  )
}

/** Whether the server could not say if the payment has happened; its token then stays used. */
function isUnknown({ problem }: PaymentAnswer): boolean {
  return problem === 'transfer-outcome-unknown'
}

function withoutKey(payment: Payment): Payment {
  return { ...payment, key: undefined, answers: [] }
}

/** Sixteen at a time. */
async function forEach(payments: readonly Payment[], act: (payment: Payment) => Promise<unknown>): Promise<void> {
  const queue = [...payments]
  const client = async (): Promise<void> => {
    for (let payment = queue.pop(); payment !== undefined; payment = queue.pop()) await act(payment)
  }
  await Promise.all(Array.from({ length: 16 }, client))
}
