import type { ProblemName } from './problems.js'
import type { PaymentInitiation } from './transaction-binding.js'

/** One fault in a request body or query. */
export interface FieldFault {
  /** JSON pointer into the body, `?name` for the query; the parent for an unknown member, whose name is not echoed. */
  pointer: string
  /** What would have been right, in words. */
  expected: string
}

/** What a refusal adds to its problem's fixed texts. */
export interface RefusalDetails {
  /** What went wrong inside; logged for 5xx, never sent. */
  cause?: unknown
  fieldFaults?: readonly FieldFault[]
  /** What to put into an authorization request, so that the next token is bound to the transaction that was refused. */
  authorizationDetails?: readonly PaymentInitiation[] | undefined
  /** Methods for the Allow header of a 405. */
  allow?: readonly string[]
  /** Seconds for the Retry-After header, where the table's value is not the right one. */
  retryAfterSeconds?: number
  /** Id of the request that the answer was first given to, when a stored answer is repeated. */
  occurrenceId?: string
}

/**
 * Thrown by guards and handlers to refuse a request. The problem plugin alone turns it into a response. It has no stack: to be
 * refused is no fault, and collecting one would cost as much as the rest of the answer. Its cause has its own.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly problem: ProblemName
  readonly details: RefusalDetails

  constructor(problem: ProblemName, details: RefusalDetails = {}) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(problem, { cause: details.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.problem = problem
    this.details = details
  }
}
