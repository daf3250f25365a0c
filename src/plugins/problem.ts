import { randomUUID } from 'node:crypto'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { serializeChallenge } from '../core/challenge.js'
import { buildChallenges, type ChallengeContext, mainChallenge } from '../core/problem-challenge.js'
import { buildProblemDocument } from '../core/problem-document.js'
import { findProblem, type ProblemName } from '../core/problems.js'
import { Refusal, type RefusalDetails } from '../core/refusal.js'
import { KeysUnavailable } from '../keys/key-source.js'
import { LedgerUnavailable, OutcomeUnknown } from '../ledger/ledger.js'
import { nameErrors } from './request-log.js'

export type ProblemOptions = ChallengeContext

declare module 'fastify' {
  interface FastifyReply {
    /** The problem that the request was refused with, for logs and metrics. */
    problem: ProblemName | null
    /** What a 503 is due to, as names and codes of errors: for the request's line in the log. Never sent. */
    outage: string | null
  }
}

/** Turns whatever a guard, a handler or Fastify itself throws into a refusal. Texts of libraries are never passed on. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  // Without a cause: the key source tells of the outage, once. Any caller can ask for a key that it does not have.
  if (error instanceof KeysUnavailable) return new Refusal('keys-unavailable')
  if (error instanceof LedgerUnavailable) return new Refusal('ledger-unavailable', { cause: error })
  if (error instanceof OutcomeUnknown) return new Refusal('transfer-outcome-unknown', { cause: error })
  const { code, statusCode } = (error ?? {}) as Partial<FastifyError>
  if (code === 'FST_ERR_BAD_URL') return new Refusal('malformed-request')
  if (statusCode === 413) return new Refusal('payload-too-large')
  if (statusCode === 414) return new Refusal('uri-too-long')
  if (statusCode === 415) return new Refusal('unsupported-media-type')
  // What is left of Fastify's own client errors is a body that could not be read.
  if (statusCode === 400)
    return new Refusal('invalid-input', { fieldFaults: [{ pointer: '', expected: 'a JSON object' }] })
  return new Refusal('internal-error', { cause: error })
}

/**
 * Answers every refusal as `application/problem+json` (RFC 9457) and, where the table says so, with a challenge made of the
 * route's policy. The only place that writes WWW-Authenticate. Logs a fault with its stack; of an outage, which many requests
 * meet, only names and codes. Never a token.
 */
export default fp(
  async (app: FastifyInstance, options: ProblemOptions) => {
    app.decorateReply('problem', null)
    app.decorateReply('outage', null)
    app.setErrorHandler((error, request, reply) => sendRefusal(toRefusal(error), { request, reply, options }))
  },
  { name: 'problem', fastify: '5.x' },
)

/** A request and where its refusal goes. */
export interface Exchange {
  request: FastifyRequest
  reply: FastifyReply
  options: ProblemOptions
}

/** Sends a refusal; also for errors that Fastify reports outside its error handler (`frameworkErrors`). */
export function sendRefusal(refusal: Refusal, { request, reply, options }: Exchange): FastifyReply {
  const { problem: name, details } = refusal
  const { status, retryAfterSeconds } = findProblem(name)
  const answer = findAnswer(name, request, options)
  const { challenges } = answer
  reply.problem = name
  if (status >= 500) logCause(name, details.cause, { request, reply })
  if (challenges.length > 0) reply.header('www-authenticate', challenges.length === 1 ? challenges[0] : [...challenges])
  const waitSeconds = details.retryAfterSeconds ?? retryAfterSeconds
  if (waitSeconds !== undefined) reply.header('retry-after', waitSeconds)
  if (details.allow !== undefined) reply.header('allow', details.allow.join(', '))
  // With a serializer of ours, because Fastify adds a charset to JSON, which application/problem+json does not have.
  return reply
    .code(status)
    .header('content-type', 'application/problem+json')
    .serializer(asItIs)
    .send(answer.write(details.occurrenceId ?? request.id, details))
}

const asItIs = (text: unknown): string => text as string

/** What all refusals have in common that have one problem, on routes with one scope, for callers of one scheme. */
interface Answer {
  /** Field lines. */
  challenges: readonly string[]
  /** Writes the problem document of one occurrence. */
  write: (requestId: string, details: RefusalDetails) => string
}

/** Answers are made once, because those to steps up and replays must cost no more than what they spare. */
const answers = new WeakMap<ProblemOptions, Map<string, Answer>>()

function findAnswer(name: ProblemName, request: FastifyRequest, options: ProblemOptions): Answer {
  const { access } = request.routeOptions.config
  const scheme = request.tokenScheme
  const known = answers.get(options) ?? new Map<string, Answer>()
  // Neither of the first two has a space.
  const key = `${name} ${scheme}${typeof access === 'object' ? ` ${access.scope}` : ''}`
  const found = known.get(key)
  if (found !== undefined) return found
  const challenges = buildChallenges(findProblem(name), { access, scheme }, options)
  const shared = { publicUrl: options.publicUrl, challenge: mainChallenge(challenges) }
  // The text is cut where the id goes, which is all that differs where the details have no say.
  const mark = randomUUID()
  const [beforeId, afterId] = JSON.stringify(buildProblemDocument(name, { ...shared, requestId: mark })).split(mark)
  const answer: Answer = {
    challenges: challenges.map(serializeChallenge),
    write: (requestId, { fieldFaults, authorizationDetails }) =>
      fieldFaults === undefined && authorizationDetails === undefined
        ? `${beforeId}${JSON.stringify(requestId).slice(1, -1)}${afterId}`
        : JSON.stringify(buildProblemDocument(name, { ...shared, requestId, fieldFaults, authorizationDetails })),
  }
  answers.set(options, known.set(key, answer))
  return answer
}

function logCause(problem: ProblemName, cause: unknown, { request, reply }: Pick<Exchange, 'request' | 'reply'>): void {
  if (problem === 'internal-error') {
    request.log.error({ problem, err: cause }, 'request failed')
    return
  }
  if (cause === undefined) return
  reply.outage = nameErrors(cause)
  // The request log says it in its own line, where there is one.
  if (!request.server.hasPlugin('request-log')) request.log.warn({ problem, outage: reply.outage }, 'request failed')
}
