import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Challenge, serializeChallenge } from '../core/challenge.js'
import { buildChallenges, type ChallengeContext, mainChallenge } from '../core/problem-challenge.js'
import { buildProblemDocument } from '../core/problem-document.js'
import { findProblem, type ProblemName } from '../core/problems.js'
import { Refusal } from '../core/refusal.js'
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
  const problem = findProblem(name)
  const { lines, challenge } = findChallenges(name, request, options)
  reply.problem = name
  if (problem.status >= 500) logCause(name, details.cause, { request, reply })
  if (lines.length > 0) reply.header('www-authenticate', lines.length === 1 ? lines[0] : lines)
  const retryAfterSeconds = details.retryAfterSeconds ?? problem.retryAfterSeconds
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  if (details.allow !== undefined) reply.header('allow', details.allow.join(', '))
  const document = buildProblemDocument(name, {
    publicUrl: options.publicUrl,
    requestId: details.occurrenceId ?? request.id,
    challenge,
    fieldFaults: details.fieldFaults,
    authorizationDetails: details.authorizationDetails,
  })
  // As bytes, because Fastify adds a charset to text, which application/problem+json does not have.
  return reply
    .code(problem.status)
    .header('content-type', 'application/problem+json')
    .send(Buffer.from(JSON.stringify(document)))
}

interface WrittenChallenges {
  lines: readonly string[]
  /** The one that says what went wrong. */
  challenge: Challenge | undefined
}

/** Written once for each problem, scheme and scope of a route, on which alone they depend. */
const written = new WeakMap<ProblemOptions, Map<string, WrittenChallenges>>()

function findChallenges(name: ProblemName, request: FastifyRequest, options: ProblemOptions): WrittenChallenges {
  const { access } = request.routeOptions.config
  const scheme = request.tokenScheme
  const known = written.get(options) ?? new Map<string, WrittenChallenges>()
  const key = JSON.stringify([name, scheme, typeof access === 'object' && access.scope])
  const found = known.get(key)
  if (found !== undefined) return found
  const challenges = buildChallenges(findProblem(name), { access, scheme }, options)
  const made = { lines: challenges.map(serializeChallenge), challenge: mainChallenge(challenges) }
  written.set(options, known.set(key, made))
  return made
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
