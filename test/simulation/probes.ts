import { idempotencyRetentionMs } from '#src/ledger/ledger.js'
import { answerOf, type Client, meaningOf } from './client.js'
import { isAnswerTo, isUnderKey } from './invariants.js'
import type { Deployment, Replica } from './replicas.js'
import type { TimeSteps } from './time-steps.js'
import { leewaySeconds } from './tokens.js'
import { type Answer, type Attempt, Violation } from './world.js'

const mostProbes = 2

export interface Probing {
  deployment: Deployment
  client: Client
  time: TimeSteps
  /** Lets everything under way come to its end. */
  finish(): Promise<void>
}

/**
 * Now that nothing goes wrong any more, whoever asks again learns the truth: sends some of the requests once more, as they
 * were or with a fresh token, and holds the answers against what must be answered. Whoever was told that a token was used when
 * in the end nobody used it asks first.
 */
export async function probeTruth(probing: Probing): Promise<void> {
  const { deployment, client } = probing
  const { random } = deployment.world
  const earlier = [...client.attempts]
  for (let count = 0; count < mostProbes && earlier.length > 0; count += 1) {
    const turnedAway = earlier.filter((attempt) => isTurnedAway(attempt, deployment))
    const attempt = random.pick(turnedAway.length > 0 ? turnedAway : earlier) as Attempt
    earlier.splice(earlier.indexOf(attempt), 1)
    await probe(attempt, probing)
  }
}

function isTurnedAway({ token, answer }: Attempt, { ledger, payments }: Deployment): boolean {
  const isOfToken = ({ jwtId }: { jwtId: string }) => jwtId === token.name
  return answer?.problem === 'token-already-used' && ![...ledger.history, ...payments.history].some(isOfToken)
}

async function probe(earlier: Attempt, { deployment, client, time, finish }: Probing): Promise<void> {
  const { world, configuration } = deployment
  const isSame = world.random.chance(0.5)
  const replica = isSame ? earlier.replica : (world.random.pick(deployment.replicas) as Replica)
  const isExpired = replica.nowMs() >= earlier.token.expiresAtMs + leewaySeconds * 1000
  const isBooking = configuration === 'ledger' && earlier.key !== undefined
  const token = isExpired && isBooking ? client.issue(earlier.token.subject) : earlier.token
  const expectation = expect({ ...earlier, replica, token }, { deployment, clockRangeMs: time.clockRangeMs })
  const attempt = client.send({ replica, token, key: earlier.key, body: earlier.body })
  await world.settle()
  await finish()
  const answer = answerOf(attempt)
  const text = `#${attempt.number} asked again for #${earlier.number}: ${answer.status} ${answer.problem ?? ''}`
  if (!expectation.holds(answer, attempt)) throw new Violation(`${text}, expected ${expectation.name}`)
}

interface Expectation {
  name: string
  holds(answer: Answer, attempt: Attempt): boolean
}

function refused(...problems: string[]): Expectation {
  return { name: problems.join(' or '), holds: ({ problem }) => problem !== undefined && problems.includes(problem) }
}

interface Grounds {
  deployment: Deployment
  clockRangeMs: number
}

/** What a request must be answered when nothing else is under way. */
function expect(request: Attempt, { deployment, clockRangeMs }: Grounds): Expectation {
  const { world, configuration, ledger, payments } = deployment
  const { token, replica } = request
  const nowMs = replica.nowMs()
  if (nowMs >= token.expiresAtMs + leewaySeconds * 1000) return refused('expired-token')
  if (token.issuedAtMs > nowMs + leewaySeconds * 1000) return refused('invalid-token')
  if (configuration !== 'ledger') {
    const isTooOld = token.issuedAtMs < Math.ceil(replica.startedMs / 1000) * 1000 + leewaySeconds * 1000
    if (configuration === 'memory' && isTooOld) return refused('not-single-use')
    if (payments.history.some(({ jwtId }) => jwtId === token.name)) return refused('token-already-used')
    const isPaidNow: Expectation = { name: 'a payment now', holds: ({ status }) => status === 201 }
    // A process that is full of live claims refuses rather than forgets one.
    const tolerated = configuration === 'memory' ? ['replay-store-unavailable'] : []
    return either(isPaidNow, ...tolerated, ...(world.mayBeBurnt.has(token) ? ['token-already-used'] : []))
  }
  const stored = request.key === undefined ? undefined : findStored(request, { deployment, clockRangeMs })
  if (stored !== undefined) return stored
  return expectWithoutRecord(
    request,
    deployment,
    ledger.history.some(({ jwtId }) => jwtId === token.name),
  )
}

function findStored(request: Attempt, { deployment, clockRangeMs }: Grounds): Expectation | undefined {
  const { ledger } = deployment
  const latest = ledger.history.findLast((decided) => isUnderKey(decided, request))
  if (latest === undefined) return undefined
  const ageMs = request.replica.nowMs() - latest.nowMs
  if (ageMs >= idempotencyRetentionMs) return undefined
  if (ageMs >= idempotencyRetentionMs - clockRangeMs) return { name: 'anything', holds: () => true }
  if (meaningOf(latest.attempt.body) !== meaningOf(request.body)) return refused('idempotency-key-reused')
  return {
    name: `the stored answer to #${latest.attempt.number}`,
    holds: (answer) => answer.replayed && isAnswerTo(latest.decision, answer),
  }
}

function expectWithoutRecord(request: Attempt, { world, ledger }: Deployment, isSpent: boolean): Expectation {
  if (isSpent) return refused('token-already-used')
  const isDecidedNow: Expectation = {
    name: 'a decision now',
    holds: (answer, attempt) => {
      const own = ledger.history.find((decided) => decided.attempt === attempt)
      return own !== undefined && isAnswerTo(own.decision, answer)
    },
  }
  const mayBeBurnt = request.key === undefined && world.mayBeBurnt.has(request.token)
  return either(isDecidedNow, ...(mayBeBurnt ? ['token-already-used'] : []))
}

function either(one: Expectation, ...problems: string[]): Expectation {
  const other = refused(...problems)
  return {
    name: [one.name, ...problems].join(' or '),
    holds: (answer, attempt) => one.holds(answer, attempt) || other.holds(answer, attempt),
  }
}
