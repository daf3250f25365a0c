import type { RouteAccess } from '../core/access-policy.js'
import { buildChallenges, mainChallenge } from '../core/problem-challenge.js'
import { buildProblemDocument, type ProblemDocument } from '../core/problem-document.js'
import { findProblem, type Problem, type ProblemName } from '../core/problems.js'
import { describePayment } from '../core/transaction-binding.js'

/** What the document says of an operation beyond its schemas follows from these. */
export interface OperationPolicy {
  access: RouteAccess
  hasBody: boolean
  url: string
}

interface Response {
  description: string
  headers?: Record<string, unknown>
  content?: Record<string, { schema?: unknown; examples?: Record<string, unknown> }>
}

interface Operation {
  operationId: string
  security?: Record<string, string[]>[]
  parameters?: unknown[]
  responses: Record<string, Response>
}

/** As much of an OpenAPI document as is changed here. */
export interface OpenApiDocument {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Record<string, unknown>> }
}

interface Refusal extends Problem {
  name: ProblemName
}

const exampleContext = {
  publicUrl: 'https://api.example.com',
  stepUp: { acrValues: ['urn:stepgate:acr:mfa'], maxAgeSeconds: 300 },
  dpop: 'accept' as const,
}
const examplePayment = describePayment({
  debtorIban: 'DE89370400440532013000',
  creditorIban: 'GB33BUKB20201555555555',
  creditorName: undefined,
  currency: 'EUR',
  amount: '123.50',
  amountMinorUnits: 12_350n,
  remittanceInformation: undefined,
})
const exampleRequestId = '0b7f3b54-6a4e-4d39-9a53-8a9f2b0c1d2e'

/** Every refusal that an operation can answer with, from its policy and shape. */
export function refusalsOf({ access, hasBody, url }: OperationPolicy): Refusal[] {
  const names: ProblemName[] = []
  if (access !== 'public') {
    names.push(
      'invalid-request',
      'invalid-input',
      'missing-token',
      'invalid-token',
      'expired-token',
      'token-binding-not-proven',
      'dpop-required',
      'dpop-key-mismatch',
      'invalid-dpop-proof',
      'use-dpop-nonce',
      'too-many-requests',
    )
    names.push(
      access.stepUp === true ? 'step-up-required' : 'insufficient-scope',
      'keys-unavailable',
      'ledger-unavailable',
      'replay-store-unavailable',
    )
    if (access.stepUp === true) names.push('insufficient-user-authentication')
    if (access.transaction !== undefined) names.push('transaction-not-authorized')
    if (access.singleUse === true) {
      names.push('token-already-used', 'not-single-use', 'invalid-idempotency-key', 'idempotency-key-reused')
      names.push('insufficient-funds', 'currency-mismatch', 'same-account', 'balance-limit', 'transfer-outcome-unknown')
    }
  }
  if (url === '/readyz') names.push('keys-unavailable', 'ledger-unavailable')
  if (url.includes(':') || hasBody) names.push(access === 'public' ? 'unknown-path' : 'not-found')
  if (hasBody) names.push('payload-too-large', 'unsupported-media-type')
  return names.map((name) => ({ name, ...findProblem(name) }))
}

/** Adds what the schema packages drop or do not know: security, headers, problem types with examples, `Idempotency-Key`. */
export function completeDocument(
  document: OpenApiDocument,
  policies: ReadonlyMap<string, OperationPolicy>,
): OpenApiDocument {
  const paths = Object.entries(document.paths).map(([path, operations]): [string, Record<string, Operation>] => [
    path,
    Object.fromEntries(
      Object.entries(operations).map(([method, operation]) => {
        const policy = policies.get(operation.operationId) as OperationPolicy
        return [method, completeOperation(operation, policy)]
      }),
    ),
  ])
  return simplifySchemas({ ...document, paths: Object.fromEntries(paths) })
}

function completeOperation(operation: Operation, policy: OperationPolicy): Operation {
  const { access } = policy
  const refusals = refusalsOf(policy)
  const responses = Object.entries(operation.responses).map(([status, response]): [string, Response] => {
    const own = refusals.filter((refusal) => refusal.status === Number(status))
    return [status, own.length > 0 ? describeRefusals(own, policy) : describeSuccess(response, Number(status), policy)]
  })
  const own =
    access === 'public' ? [] : access.singleUse === true ? [proofParameter, idempotencyKeyParameter] : [proofParameter]
  return {
    ...operation,
    security: access === 'public' ? [] : [{ accessToken: [access.scope] }],
    ...(own.length > 0 ? { parameters: [...(operation.parameters ?? []), ...own] } : {}),
    responses: Object.fromEntries(responses),
  }
}

const proofParameter = {
  name: 'DPoP',
  in: 'header',
  description: 'A proof of the key that the access token is bound to (RFC 9449), with "Authorization: DPoP <token>".',
  schema: { type: 'string', maxLength: 8192 },
}

const idempotencyKeyParameter = {
  name: 'Idempotency-Key',
  in: 'header',
  description:
    'Names the transfer, so that a repeated request gets the stored answer for 24 hours instead of a second transfer.',
  schema: { type: 'string', minLength: 1, maxLength: 257 },
  example: '8e03978e-40d5-43dd-bc93-6894a57f9324',
}

const stringHeader = (description: string) => ({ description, schema: { type: 'string' } })

function describeSuccess(response: Response, status: number, { access }: OperationPolicy): Response {
  const headers = {
    ...(status === 201 ? { Location: stringHeader('Address of the transfer.') } : {}),
    ...(access !== 'public' && access.singleUse === true
      ? { 'Idempotency-Replayed': stringHeader('"true" on a stored answer.') }
      : {}),
  }
  const description = response.description === 'Default Response' ? 'Success.' : response.description
  return { ...response, description, ...(Object.keys(headers).length > 0 ? { headers } : {}) }
}

function describeRefusals(refusals: readonly Refusal[], { access }: OperationPolicy): Response {
  const headers = {
    ...(refusals.some(({ challenge }) => challenge !== 'none')
      ? {
          'WWW-Authenticate': stringHeader(
            'The challenge, one field line for each of Bearer and DPoP that applies, with error, scope, acr_values, max_age, algs and resource_metadata as far as they apply.',
          ),
        }
      : {}),
    ...(refusals.some(({ error }) => error === 'use_dpop_nonce')
      ? { 'DPoP-Nonce': stringHeader('The nonce that the next DPoP proof must contain.') }
      : {}),
    ...(refusals.some(({ retryAfterSeconds }) => retryAfterSeconds !== undefined)
      ? { 'Retry-After': { description: 'Seconds to wait.', schema: { type: 'integer' } } }
      : {}),
  }
  const examples = refusals.map((refusal) => [
    refusal.name,
    { summary: refusal.title, value: exampleOf(refusal, access) },
  ])
  return {
    description: refusals.map(({ name, detail }) => `\`${name}\`: ${detail}.`).join(' '),
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    content: {
      'application/problem+json': {
        schema: { $ref: '#/components/schemas/Problem' },
        examples: Object.fromEntries(examples),
      },
    },
  }
}

function exampleOf(refusal: Refusal, access: RouteAccess): ProblemDocument {
  const isInput = refusal.name === 'invalid-input'
  const document = buildProblemDocument(refusal.name, {
    publicUrl: exampleContext.publicUrl,
    requestId: exampleRequestId,
    challenge: mainChallenge(buildChallenges(refusal, { access }, exampleContext)),
    fieldFaults: isInput
      ? [{ pointer: '/instructedAmount/amount', expected: 'a decimal string such as "123.50"' }]
      : undefined,
    authorizationDetails: refusal.name === 'transaction-not-authorized' ? [examplePayment] : undefined,
  })
  return JSON.parse(JSON.stringify(document))
}

/**
 * zod writes each registered schema twice, as input and as output, and long patterns where a format says it all: one of
 * each is enough, since no registered schema differs between the two.
 */
function simplifySchemas(document: OpenApiDocument): OpenApiDocument {
  const text = JSON.stringify(document, (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || !('format' in value) || !('pattern' in value)) return value
    const { pattern: _pattern, ...rest } = value
    return rest
  })
  const simplified: OpenApiDocument = JSON.parse(text.replaceAll(/(#\/components\/schemas\/\w+?)Input"/g, '$1"'))
  const { schemas } = simplified.components
  for (const [name, schema] of Object.entries(schemas)) {
    if (!name.endsWith('Input')) continue
    schemas[name.slice(0, -'Input'.length)] ??= schema
    delete schemas[name]
  }
  return simplified
}
