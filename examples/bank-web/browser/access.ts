import { type Grant, holdsScope, type StepUpParameters } from '../step-up-fetch.js'
import { whileWaiting } from './display.js'
import { forgetKeyPair } from './dpop-key.js'
import { leaveForAuthorization, leaveForSignOut, type SignedIn } from './oauth.js'
import { type AuthorizationRecord, forgetSession, signedInSubject } from './session.js'
import { readScope, transferScope } from './settings.js'
import { digestOf, trace } from './trace.js'

/** The one place where a token lives: this variable. It is gone with the page, and a reload asks for another. */
let current: SignedIn | undefined
const listeners = new Set<() => void>()

/** The grant at hand, whatever its scopes. */
export function currentGrant(): Grant | undefined {
  return current?.grant
}

/** The grant at hand, if it can read. */
export function readingGrant(): Grant | undefined {
  return current !== undefined && holdsScope(current.grant, readScope) ? current.grant : undefined
}

/** Scopes at hand, for the panel. */
export function scopesHeld(): string {
  return current?.grant.scope ?? ''
}

export function holdGrant(signedIn: SignedIn): void {
  current = signedIn
  signedInSubject.save(signedIn.subject)
  notify()
}

/** Forgets a token that can move money: it was good for one transfer. */
export async function dropTransferGrant(): Promise<void> {
  if (current === undefined || !holdsScope(current.grant, transferScope)) return
  const { accessToken } = current.grant
  current = undefined
  trace('note', `Token ${await digestOf(accessToken)} dropped`)
  notify()
}

/** Forgets a token that the API does not take any more. */
export function dropGrant(): void {
  current = undefined
  notify()
}

/** Calls back after the grant has changed. */
export function onGrantChange(listener: () => void): void {
  listeners.add(listener)
}

/** Leaves for the authorization server. With a session there, and nothing more to prove, the person sees no page. */
export function leave(
  parameters: StepUpParameters,
  options: Pick<AuthorizationRecord, 'purpose' | 'returnTo'> & { prompt?: 'none' },
): Promise<never> {
  const title = options.prompt === 'none' ? 'Opening your accounts' : 'Opening the sign-in page'
  trace('leave', 'To the authorization server', [
    ['Scopes held', scopesHeld() || 'none'],
    ...Object.entries(parameters).map(([name, value]): [string, string] => [`asks for ${name}`, value]),
    ...(options.prompt === 'none' ? ([['prompt', 'none, so without a page']] as const) : []),
  ])
  return whileWaiting(title, leaveForAuthorization(parameters, options))
}

/** Forgets everything here first, so that it is forgotten even if the authorization server does not answer. */
export async function signOut(): Promise<never> {
  dropGrant()
  forgetSession()
  await forgetKeyPair()
  return whileWaiting('Signing you out', leaveForSignOut())
}

function notify(): void {
  for (const listener of listeners) listener()
}
