import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { AccessPolicy } from '../core/access-policy.js'
import { type Challenge, serializeChallenge } from '../core/challenge.js'
import { buildProblemDocument } from '../core/problem-document.js'
import { findProblem, type ProblemName } from '../core/problems.js'
import { Refusal } from '../core/refusal.js'
import { KeysUnavailable } from '../keys/key-source.js'
import { LedgerUnavailable, OutcomeUnknown } from '../ledger/ledger.js'

export interface ProblemOptions {
  /** Origin that clients use; problem types and metadata addresses are made from it, never from the Host header. */
  publicUrl: string
  /** What a step-up challenge asks for besides the scope; left out when empty or undefined. */
  stepUp: { acrValues: readonly string[]; maxAgeSeconds: number | undefined }
}

declare module 'fastify' {
  interface FastifyReply {
    /** The problem that the request was refused with, for logs and metrics. */
    problem: ProblemName | null
  }
}

/** Turns whatever a guard, a handler or Fastify itself throws into a refusal. Texts of libraries are never passed on. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error
  if (error instanceof KeysUnavailable) return new Refusal('keys-unavailable', { cause: error })
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
 * route's policy. The only place that writes WWW-Authenticate. Logs the cause of a 5xx, never a token.
 */
export default fp(
  async (app: FastifyInstance, options: ProblemOptions) => {
    app.decorateReply('problem', null)
    app.setErrorHandler((error, request, reply) => sendRefusal(toRefusal(error), request, reply, options))
  },
  { name: 'problem', fastify: '5.x' },
)

/** Sends a refusal; also for errors that Fastify reports outside its error handler (`frameworkErrors`). */
export function sendRefusal(
  refusal: Refusal,
  request: FastifyRequest,
  reply: FastifyReply,
  options: ProblemOptions,
): FastifyReply {
  const { problem: name, details } = refusal
  const problem = findProblem(name)
  const challenge = buildChallenge(name, request.routeOptions.config.access, options)
  reply.problem = name
  if (problem.status >= 500 && details.cause !== undefined)
    request.log.error({ problem: name, err: details.cause }, 'request failed')
  if (challenge !== undefined) reply.header('www-authenticate', serializeChallenge(challenge))
  const retryAfterSeconds = details.retryAfterSeconds ?? problem.retryAfterSeconds
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  if (details.allow !== undefined) reply.header('allow', details.allow.join(', '))
  const document = buildProblemDocument(name, {
    publicUrl: options.publicUrl,
    requestId: details.occurrenceId ?? request.id,
    challenge,
    fieldFaults: details.fieldFaults,
  })
  // As bytes, because Fastify adds a charset to text, which application/problem+json does not have.
  return reply
    .code(problem.status)
    .header('content-type', 'application/problem+json')
    .send(Buffer.from(JSON.stringify(document)))
}

function buildChallenge(
  name: ProblemName,
  access: 'public' | AccessPolicy | undefined,
  { publicUrl, stepUp }: ProblemOptions,
): Challenge | undefined {
  const { challenge, error, detail } = findProblem(name)
  if (challenge === 'none') return undefined
  const asksForStepUp = challenge === 'step-up'
  return {
    realm: 'stepgate',
    error,
    scope: challenge === 'bare' || typeof access !== 'object' ? undefined : access.scope,
    acrValues: asksForStepUp && stepUp.acrValues.length > 0 ? stepUp.acrValues.join(' ') : undefined,
    maxAgeSeconds: asksForStepUp ? stepUp.maxAgeSeconds : undefined,
    resourceMetadata: `${publicUrl}/.well-known/oauth-protected-resource`,
    errorDescription: error === undefined ? undefined : detail,
  }
}
