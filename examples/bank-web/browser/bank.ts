import {
  type Grant,
  holdsScope,
  type StepUpParameters,
  StepUpRequired,
  stepUpFetch,
  TokenRefused,
} from '../step-up-fetch.js'
import type { Money } from './money.js'
import { requestOptions } from './oauth.js'
import type { OpenTransfer } from './session.js'
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
  readonly type?: string | undefined
  readonly title?: string
  readonly detail?: string
  readonly errors?: readonly { readonly pointer: string; readonly expected: string }[]
}

/** No answer that could be used: the API refuses for a reason that no token changes, or somebody else answered. */
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
  const { accounts } = await readJson<{ accounts: Account[] }>(grant, '/accounts', 'accounts')
  return accounts
}

/** One page of what came and went. Throws like readAccounts. */
export function readTransactions(grant: Grant, accountId: string, cursor?: string): Promise<TransactionPage> {
  const query = new URLSearchParams({ limit: '25', ...(cursor !== undefined && { cursor }) })
  const path = `/accounts/${encodeURIComponent(accountId)}/transactions?${query}`
  return readJson<TransactionPage>(grant, path, 'transactions')
}

/** How sending a transfer ended. */
export type TransferOutcome =
  | { readonly kind: 'booked'; readonly booking: Booking }
  /** This attempt booked nothing. Ask for these parameters, then send it again with the same key. */
  | {
      readonly kind: 'confirm'
      readonly reason: 'needed' | 'used' | 'expired'
      readonly parameters: StepUpParameters
      /** Something that was sent before this answer may have booked it. */
      readonly mayBeBooked: boolean
    }
  /** Nothing was booked and nothing will be with this key. The token is used up, or of no use for it. */
  | { readonly kind: 'declined'; readonly problem: Problem }
  /** Nothing was booked, and the same token and key will do later. */
  | { readonly kind: 'later' }
  /** It may have been booked. The same key finds out. */
  | { readonly kind: 'unknown' }

/** The ledger decided, and gives the same answer to the same key from now on. */
const declines = ['not-found', 'insufficient-funds', 'currency-mismatch', 'same-account', 'balance-limit']
/**
 * Refused before the ledger was asked, or before it did anything, but after the proof was taken: so this was the first copy
 * of the request, as far as the API remembers proofs.
 */
const delays = ['ledger-unavailable', 'too-many-requests']

/**
 * Sends a transfer with its Idempotency-Key, any number of times: it is booked once. With `knowsScopes` a grant that lacks
 * the scope is not even tried; without, the API has to say so. Never throws for what a server or a network does: an answer
 * that is not of the API's contract tells nothing, so the outcome is unknown then.
 */
export async function sendTransfer(
  grant: Grant,
  { order, idempotencyKey, status }: OpenTransfer,
  { knowsScopes }: { knowsScopes: boolean },
): Promise<TransferOutcome> {
  const couldPay = holdsScope(grant, transferScope)
  let mayBeBooked = status === 'sent'
  const request = {
    url: new URL('/transfers', apiUrl),
    method: 'POST',
    headers: new Headers({ 'content-type': 'application/json', 'idempotency-key': idempotencyKey }),
    body: JSON.stringify(order),
    ...(knowsScopes && { needs: transferNeeds(order) }),
    onDoubt: () => {
      mayBeBooked ||= couldPay
    },
  }
  try {
    const response = await stepUpFetch(grant, request, requestOptions)
    const body = await readObject(response)
    if (response.status === 201 && 'transferId' in body) {
      const replayed = response.headers.get('idempotency-replayed') === 'true'
      return { kind: 'booked', booking: { ...(body as unknown as Booking), replayed } }
    }
    const isOneOf = (names: readonly string[]) => names.some((name) => isProblem(body, name))
    if (isOneOf(declines)) return { kind: 'declined', problem: body }
    if (mayBeBooked) return { kind: 'unknown' }
    if (isOneOf(['invalid-input'])) return { kind: 'declined', problem: body }
    return { kind: isOneOf(delays) ? 'later' : 'unknown' }
  } catch (error) {
    if (error instanceof StepUpRequired) {
      return { kind: 'confirm', reason: 'needed', parameters: error.parameters, mayBeBooked }
    }
    if (error instanceof TokenRefused) {
      const { parameters, problemType: type } = error
      // Said by the ledger, which found nothing under this key.
      if (isProblem({ type }, 'token-already-used')) return { kind: 'confirm', reason: 'used', parameters, mayBeBooked }
      // Any other refusal of a token may be of a later copy, or somebody else's, such as a proxy's.
      const reason = isProblem({ type }, 'expired-token') ? 'expired' : 'needed'
      return { kind: 'confirm', reason, parameters, mayBeBooked: mayBeBooked || couldPay }
    }
    if (!(error instanceof Unreachable)) reportError(error)
    return { kind: 'unknown' }
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
export function isProblem({ type }: Pick<Problem, 'type'>, name: string): boolean {
  return type === new URL(`/problems/${name}`, apiUrl).href
}

async function readJson<Body>(grant: Grant, path: string, member: keyof Body & string): Promise<Body> {
  const response = await stepUpFetch(grant, { url: new URL(path, apiUrl) }, requestOptions)
  const body = await readObject(response)
  if (!response.ok || !(member in body)) throw new ApiProblem(body)
  return body as Body
}

/** The JSON object of an answer. It is empty for anything else, such as a proxy's page or an answer that breaks off. */
async function readObject(response: Response): Promise<object> {
  const body: unknown = await response.json().catch(() => undefined)
  return typeof body === 'object' && body !== null ? body : {}
}
