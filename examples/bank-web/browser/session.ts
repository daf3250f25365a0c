import type { StepUpParameters } from '../step-up-fetch.js'
import type { Booking, TransferOrder, TypedTransfer } from './transfer.js'

/**
 * What has to survive the way to the authorization server and back, in sessionStorage, so that each tab has its own. No
 * token is ever among it: a script that gets to read this finds nothing that opens an account.
 */
const names = { authorization: 'authorization', transfer: 'transfer', draft: 'draft', subject: 'subject' } as const

/** An authorization request that is under way. */
export interface AuthorizationRecord {
  readonly state: string
  /** RFC 7636: worthless without the code, which comes back by another way. */
  readonly codeVerifier: string
  readonly nonce: string
  readonly purpose: 'read' | 'transfer'
  /** What was asked for, as the challenge said it. */
  readonly parameters: StepUpParameters
  /** The part of the address after the #, to come back to. */
  readonly returnTo: string
}

/**
 * Why the person is asked to confirm. `again`: a confirmation was given, and the bank wants something else as well.
 * `in-vain`: it wants just what was given.
 */
export type ConfirmationReason = 'needed' | 'again' | 'in-vain' | 'used' | 'expired' | 'find-out'

interface BegunTransfer {
  readonly idempotencyKey: string
  /** When it was sent first; until then, when it was begun. */
  readonly begunMs: number
  readonly order: TransferOrder
  /** Who began it: nobody else may finish it. */
  readonly subject: string
}

/**
 * A transfer whose outcome is open. Its key stays the same until the outcome is known, or the person dismisses it or signs
 * out. With that key it can be sent any number of times within the API's memory; see `isPastFindingOut`.
 */
export interface OpenTransfer extends BegunTransfer {
  /** `sent` means that the API may have booked it. */
  readonly status: 'not-sent' | 'sent'
  /** What to ask the authorization server for, and why. */
  readonly confirmation?: { readonly parameters: StepUpParameters; readonly reason: ConfirmationReason }
  /** All that was asked of the authorization server so far, to notice when the API goes round in circles. */
  readonly asked?: readonly StepUpParameters[]
}

export type PendingTransfer = OpenTransfer | (BegunTransfer & { readonly status: 'booked'; readonly booking: Booking })

/** The API remembers a key for 24 hours. The rest is for a clock that was set, and for the way. */
const keyLifetimeMs = 23 * 60 * 60 * 1000

/** Whether it may have been booked so long ago that the API has forgotten its key: sent again, it could be made twice. */
export function isPastFindingOut({ status, begunMs }: OpenTransfer): boolean {
  const ageMs = Date.now() - begunMs
  return status === 'sent' && !(ageMs >= 0 && ageMs < keyLifetimeMs)
}

export const authorizationInProgress = {
  save: (record: AuthorizationRecord) => write(names.authorization, record),
  /** A record serves once: a second answer to the same request finds none. */
  take(): AuthorizationRecord | undefined {
    const record = read<AuthorizationRecord>(names.authorization)
    sessionStorage.removeItem(names.authorization)
    return record
  },
}

export const pendingTransfer = {
  save: (transfer: PendingTransfer) => write(names.transfer, transfer),
  read: () => read<PendingTransfer>(names.transfer),
  forget: () => sessionStorage.removeItem(names.transfer),
}

/** A form that is being filled in, or whose transfer was declined. */
export interface Draft {
  /** Who types: nobody else gets to see it. */
  readonly subject: string
  /** The part of the address after the #. The same form at another one starts afresh. */
  readonly place: string
  readonly typed: TypedTransfer
  /** What the API found wrong, by field, if it declined. */
  readonly faults?: TypedTransfer
}

export const draft = {
  save: (value: Draft) => write(names.draft, value),
  read: () => read<Draft>(names.draft),
  /** The draft of this person at this place, or one that was declined, wherever it was typed. */
  find(subject: string, place: string): Draft | undefined {
    const found = read<Draft>(names.draft)
    const isMeant = found?.faults !== undefined || found?.place === place
    return found?.subject === subject && isMeant ? found : undefined
  },
  forget: () => sessionStorage.removeItem(names.draft),
}

/** Who is signed in, as far as this tab knows: a reason to try without a page after a reload. */
export const signedInSubject = {
  save: (subject: string) => write(names.subject, subject),
  read: () => read<string>(names.subject),
  forget: () => sessionStorage.removeItem(names.subject),
}

function write(name: string, value: unknown): void {
  sessionStorage.setItem(name, JSON.stringify(value))
}

function read<Value>(name: string): Value | undefined {
  const text = sessionStorage.getItem(name)
  return text === null ? undefined : JSON.parse(text)
}

/** At sign-out: whoever comes next finds nothing of this session, nor what the panel showed of it. */
export function forgetSession(): void {
  sessionStorage.clear()
}
