import { z } from 'zod'
import type { Challenge } from './challenge.js'
import { findProblem, type ProblemName } from './problems.js'
import type { FieldFault } from './refusal.js'
import { type PaymentInitiation, paymentInitiationSchema } from './transaction-binding.js'

/** The body of every refusal: `application/problem+json` (RFC 9457 §3) with the challenge's parameters as members. */
export const problemDocumentSchema = z
  .strictObject({
    type: z.url(),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string(),
    instance: z
      .string()
      .regex(/^urn:uuid:[0-9a-f-]{36}$/)
      .describe('Names this occurrence; quote it to the operator.'),
    error: z.string().optional(),
    error_description: z.string().optional(),
    scope: z.string().optional(),
    acr_values: z.string().optional(),
    max_age: z.int().min(0).optional(),
    resource_metadata: z.url().optional(),
    authorization_details: z
      .array(paymentInitiationSchema)
      .optional()
      .describe('Goes into the authorization request unchanged (RFC 9396).'),
    errors: z.array(z.strictObject({ pointer: z.string(), expected: z.string() })).optional(),
  })
  .meta({
    id: 'Problem',
    description: 'A refusal (RFC 9457). Challenge parameters repeat the WWW-Authenticate header.',
  })

export type ProblemDocument = z.infer<typeof problemDocumentSchema>

/** What a problem document is made from besides the table's row. */
export interface ProblemOccurrence {
  publicUrl: string
  /** UUID of the request. */
  requestId: string
  challenge?: Challenge | undefined
  fieldFaults?: readonly FieldFault[] | undefined
  authorizationDetails?: readonly PaymentInitiation[] | undefined
}

/** Builds the document. Undefined members vanish in JSON; nothing of the caller's goes in but the transaction it asked for. */
export function buildProblemDocument(name: ProblemName, occurrence: ProblemOccurrence): ProblemDocument {
  const { status, title, detail } = findProblem(name)
  const { challenge, fieldFaults, authorizationDetails } = occurrence
  return {
    type: `${occurrence.publicUrl}/problems/${name}`,
    title,
    status,
    detail,
    instance: `urn:uuid:${occurrence.requestId}`,
    error: challenge?.error,
    error_description: challenge?.errorDescription,
    scope: challenge?.scope,
    acr_values: challenge?.acrValues,
    max_age: challenge?.maxAgeSeconds,
    resource_metadata: challenge?.resourceMetadata,
    authorization_details: authorizationDetails?.slice(),
    errors: fieldFaults?.slice(),
  }
}
