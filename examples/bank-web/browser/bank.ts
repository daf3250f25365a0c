import { type Grant, type StepUpParameters, StepUpRequired, stepUpFetch, TokenRefused } from '../step-up-fetch.js'
import type { Money } from './money.js'
import { requestOptions } from './oauth.js'
import type { PendingTransfer } from './session.js'
import { apiUrl, transferScope } from './settings.js'
import { Unreachable } from './trace.js'
import type { Booking, TransferOrder } from './transfer.js'

export interface Account {
  readonly resourceId: string
  readonly iban: string
  readonly name: string
  readonly balance: Money
}

export interface Transaction {
  readonly transferId: string
  readonly bookedAt: string
  readonly counterparty: { readonly iban: string }
  readonly amount: Money
  readonly remittanceInformationUnstructured?: string
}

/** Newest first. `nextCursor` is there when there are more. */
export interface TransactionPage {
  readonly transactions: readonly Transaction[]
  readonly nextCursor?: string
}

/** What the API says of a refusal (RFC 9457). */
export interface Problem {
  readonly type?: string
  readonly title?: string
  readonly detail?: string
  readonly errors?: readonly { readonly pointer: string; readonly expected: string }[]
}

/** The API refuses for a reason that no token changes. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.title ?? 'the API refused')
    this.problem = problem
  }
}

/** Throws TokenRefused, StepUpRequired, ApiProblem or Unreachable. */
export async function readAccounts(grant: Grant): Promise<readonly Account[]> {
  const { accounts } = await readJson<{ accounts: Account[] }>(grant, '/accounts')
  return accounts
}

/** One page of what came and went. Throws like readAccounts. */
export function readTransactions(grant: Grant, accountId: string, cursor?: string): Promise<TransactionPage> {
  const query = new URLSearchParams({ limit: '25', ...(cursor !== undefined && { cursor }) })
  return readJson(grant, `/accounts/${encodeURIComponent(accountId)}/transactions?${query}`)
}

/** How sending a transfer ended. */
export type TransferOutcome =
  | { readonly kind: 'booked'; readonly booking: Booking }
  /** Nothing was booked by this request. Ask for these parameters, then send it again with the same key. */
  | { readonly kind: 'confirm'; readonly reason: 'needed' | 'used' | 'expired'; readonly parameters: StepUpParameters }
  /** Nothing was booked, and the token is used up or of no use for it. */
  | { readonly kind: 'declined'; readonly problem: Problem }
  /** Nothing was booked, and the same token and key will do later. */
  | { readonly kind: 'later' }
  /** It may have been booked. The same key finds out. */
  | { readonly kind: 'unknown' }

/**
 * Sends a transfer with its Idempotency-Key, any number of times: it is booked once. With `knowsScopes` a grant that lacks
 * the scope is not even tried; without, the API has to say so. Never throws for what a server or a network does.
 */
export async function sendTransfer(
  grant: Grant,
  { order, idempotencyKey }: PendingTransfer,
  { knowsScopes }: { knowsScopes: boolean },
): Promise<TransferOutcome> {
  const request = {
    url: new URL('/transfers', apiUrl),
    method: 'POST',
    headers: new Headers({ 'content-type': 'application/json', 'idempotency-key': idempotencyKey }),
    body: JSON.stringify(order),
    ...(knowsScopes && { needs: transferNeeds(order) }),
  }
  try {
    const response = await stepUpFetch(grant, request, requestOptions)
    if (response.status === 201) {
      const replayed = response.headers.get('idempotency-replayed') === 'true'
      return { kind: 'booked', booking: { ...(await response.json()), replayed } }
    }
    const problem: Problem = await response.json()
    if (isProblem(problem, 'transfer-outcome-unknown')) return { kind: 'unknown' }
    if ([409, 429, 503].includes(response.status)) return { kind: 'later' }
    return response.status < 500 ? { kind: 'declined', problem } : { kind: 'unknown' }
  } catch (error) {
    if (error instanceof StepUpRequired) return { kind: 'confirm', reason: 'needed', parameters: error.parameters }
    if (!(error instanceof TokenRefused)) {
      // Whatever else goes wrong, an answer that breaks off or that a proxy made up: the request may have arrived.
      if (!(error instanceof Unreachable)) reportError(error)
      return { kind: 'unknown' }
    }
    const reason = error.problemType?.endsWith('/token-already-used') ? 'used' : 'expired'
    return { kind: 'confirm', reason, parameters: error.parameters }
  }
}

/**
 * What this app knows a transfer to need: the scope, and a token for this one payment (RFC 9396), so that the
 * authorization server shows what is being approved.
 */
export function transferNeeds(order: TransferOrder): StepUpParameters & { scope: string } {
  const detail = { type: 'payment_initiation', ...order }
  return { scope: transferScope, authorization_details: JSON.stringify([detail]) }
}

/** Whether a problem is the one of this name; see the API's /problems. */
export function isProblem({ type }: Problem, name: string): boolean {
  return type?.endsWith(`/problems/${name}`) ?? false
}

async function readJson<Body>(grant: Grant, path: string): Promise<Body> {
  const response = await stepUpFetch(grant, { url: new URL(path, apiUrl) }, requestOptions)
  if (!response.ok) throw new ApiProblem(await response.json())
  return response.json()
}
