import { idempotencyRetentionMs, type TransferDecision } from '#src/ledger/ledger.js'
import { meaningOf, openings } from './client.js'
import type { Decided } from './model-ledger.js'
import type { Deployment } from './replicas.js'
import { type Answer, type Attempt, Violation } from './world.js'

const statusByDecline: Record<string, number> = { 'not-found': 404, 'insufficient-funds': 422 }

function demand(holds: boolean, promise: string): asserts holds {
  if (!holds) throw new Violation(promise)
}

/** Holds everything that happened against what stepgate promises. Throws `Violation`. */
export function checkPromises(deployment: Deployment, attempts: readonly Attempt[], clockRangeMs: number): void {
  const { configuration, ledger, payments } = deployment
  for (const attempt of attempts) {
    const { number, state } = attempt
    demand(state === 'answered' || state === 'lost', `#${number} hangs`)
  }
  if (configuration === 'ledger') {
    checkBooks(deployment)
    checkHistory(ledger.history, clockRangeMs)
    for (const attempt of attempts) checkBookingAnswer(attempt, deployment, attempts)
    return
  }
  const paidTokens = payments.history.map(({ jwtId }) => jwtId)
  demand(new Set(paidTokens).size === paidTokens.length, `a token moved money twice: ${paidTokens.join(' ')}`)
  for (const attempt of attempts) checkPaymentAnswer(attempt, deployment, attempts)
}

/** Postings sum to zero, make up the balances and leave none negative. */
function checkBooks({ ledger }: Deployment): void {
  const total = ledger.postings.reduce((sum, { amountMinorUnits }) => sum + amountMinorUnits, 0n)
  demand(total === 0n, `postings sum to ${total}`)
  for (const { iban, balanceMinorUnits: opening } of openings) {
    const balance = ledger.accountsByIban.get(iban)?.balanceMinorUnits ?? -1n
    const own = ledger.postings.filter((posting) => posting.iban === iban)
    const posted = own.reduce((sum, { amountMinorUnits }) => sum + amountMinorUnits, opening)
    demand(balance >= 0n, `a balance of ${balance}`)
    demand(balance === posted, `a balance of ${balance} where ${posted} was posted`)
  }
}

/** Each token decided once, and each key once in 24 hours, as far as the clocks agree. */
function checkHistory(history: readonly Decided[], clockRangeMs: number): void {
  const tokens = new Set<string>()
  const latest = new Map<string, number>()
  for (const { jwtId, owner, key, nowMs } of history) {
    demand(!tokens.has(jwtId), `${jwtId} was used twice`)
    tokens.add(jwtId)
    if (key === undefined) continue
    const name = `${owner.subject}'s ${key}`
    const sinceMs = nowMs - (latest.get(name) ?? Number.NEGATIVE_INFINITY)
    demand(sinceMs >= idempotencyRetentionMs - clockRangeMs, `${name} decided twice within ${sinceMs} ms`)
    latest.set(name, nowMs)
  }
}

/** What a request was told is what happened to it. */
function checkBookingAnswer(attempt: Attempt, { ledger }: Deployment, attempts: readonly Attempt[]): void {
  const { number, answer, token, key, body } = attempt
  const own = ledger.history.find((decided) => decided.attempt === attempt)
  if (answer === undefined || answer.problem === 'transfer-outcome-unknown') return
  const text = `#${number}, answered ${answer.status} ${answer.problem ?? ''},`
  if (own !== undefined) {
    demand(!answer.replayed && isAnswerTo(own.decision, answer), `${text} was ${own.decision.kind} in truth`)
    return
  }
  const ofKey = ledger.history.filter((decided) => isUnderKey(decided, attempt))
  switch (answer.problem ?? 'booked') {
    case 'booked':
    case 'not-found':
    case 'insufficient-funds': {
      const stored = ofKey.find(({ decision }) => isAnswerTo(decision, answer))
      demand(answer.replayed && stored !== undefined, `${text} was never decided`)
      demand(meaningOf(stored.attempt.body) === meaningOf(body), `${text} got the answer to another body`)
      return
    }
    case 'idempotency-key-reused':
      demand(
        ofKey.some((decided) => meaningOf(decided.attempt.body) !== meaningOf(body)),
        `${text} is the first of its key`,
      )
      return
    case 'token-already-used': {
      // With a key the ledger decides; without one a claim in front of it is enough.
      const isSpent = ledger.history.some(({ jwtId }) => jwtId === token.name)
      demand(isSpent || (key === undefined && isNotFirst(attempt, attempts)), `${text} has a token that nobody used`)
      return
    }
    default:
      demand(isPlain(answer), `${text} was not expected`)
  }
}

function checkPaymentAnswer(attempt: Attempt, { payments }: Deployment, attempts: readonly Attempt[]): void {
  const { number, answer } = attempt
  const own = payments.history.find((paid) => paid.attempt === attempt)
  if (answer === undefined || answer.problem === 'transfer-outcome-unknown') return
  const text = `#${number}, answered ${answer.status} ${answer.problem ?? ''},`
  demand(
    (answer.status === 201) === (own !== undefined),
    `${text} ${own === undefined ? 'did not pay' : 'paid'} in truth`,
  )
  demand(answer.transferId === own?.id, `${text} names another payment`)
  if (answer.problem === 'token-already-used')
    demand(isNotFirst(attempt, attempts), `${text} was the first of its token`)
  else demand(answer.status === 201 || isPlain(answer), `${text} was not expected`)
}

/** Answers that say nothing about money, other than that none moved. */
function isPlain({ status, problem }: Answer): boolean {
  const plain = [
    'expired-token',
    'invalid-token',
    'not-single-use',
    'idempotency-key-in-use',
    'ledger-unavailable',
    'replay-store-unavailable',
  ]
  return status !== 500 && plain.includes(problem ?? '')
}

function isNotFirst({ token, number }: Attempt, attempts: readonly Attempt[]): boolean {
  return attempts.some((one) => one.token === token && one.number !== number)
}

export function isUnderKey({ owner, key }: Decided, attempt: Attempt): boolean {
  return key !== undefined && key === attempt.key && owner.subject === attempt.token.subject
}

/** Whether an answer is what a decision is answered with. */
export function isAnswerTo(decision: TransferDecision, { status, problem, transferId }: Answer): boolean {
  if (decision.kind === 'booked') return status === 201 && transferId === decision.transfer.id
  return status === statusByDecline[decision.reason] && problem === decision.reason
}
