import { holdsScope, StepUpRequired, TokenRefused } from '../step-up-fetch.js'
import { dropGrant, holdGrant, leave, readingGrant, signOut } from './access.js'
import { type Account, ApiProblem, readAccounts, readTransactions, type Transaction } from './bank.js'
import { actionButton, guardActions, show, whileWaiting } from './display.js'
import { byId, h } from './dom.js'
import { AuthorizationRefused, completeAuthorization, UnexpectedAnswer } from './oauth.js'
import { makePanel } from './panel.js'
import { accountsPlaceholder, accountsScreen, transactionsScreen } from './screens/accounts.js'
import { unfinishedNotice } from './screens/confirmation.js'
import { signOutScreen } from './screens/outcome.js'
import { signedOutScreen, troubleScreen } from './screens/signed-out.js'
import { transferFormScreen } from './screens/transfer-form.js'
import {
  type AuthorizationRecord,
  authorizationInProgress,
  draft,
  isPastFindingOut,
  type PendingTransfer,
  pendingTransfer,
  signedInSubject,
} from './session.js'
import { issuer, readScope, transferScope } from './settings.js'
import { Unreachable } from './trace.js'
import type { TransferOrder, TypedTransfer } from './transfer.js'
import { beginTransfer, deliver, showPendingTransfer, transferHash } from './transfer-flow.js'

/** The grant at hand has read something, so when the API refuses it later, a new one will do. */
let grantHasWorked = false
/** Counts screens that were asked for: an answer that comes after a later question is not shown. */
let latestTurn = 0

const panelToggle = makePanel()
guardActions(attempt)
window.addEventListener('hashchange', () => void attempt(route))
// Back from another page, the browser may show this one as it was left, in the middle of leaving.
window.addEventListener('pageshow', ({ persisted }) => persisted && void attempt(route))
await attempt(start)

/** A page load: an answer of the authorization server, or a visit. */
async function start(): Promise<void> {
  showTopActions()
  const answer = new URL(location.href)
  if (answer.pathname !== '/callback') return route()
  const record = authorizationInProgress.take()
  // Out of the address and the history before anything else: a code is no use to anyone, and a reload must not repeat it.
  history.replaceState(null, '', `/${record?.returnTo ?? ''}`)
  return finishAuthorization(answer, record)
}

async function finishAuthorization(answer: URL, record: AuthorizationRecord | undefined): Promise<void> {
  const pending = pendingTransfer.read()
  const isForTransfer = record?.purpose === 'transfer' && pending !== undefined
  const signedIn = await whileWaiting('Signing you in', completeAuthorization(answer, record)).catch(
    (error: unknown) => {
      if (!(error instanceof AuthorizationRefused)) throw error
      if (isForTransfer) showPendingTransfer(pending, error.isByPerson ? 'cancelled' : 'failed')
      else if (error.code === 'access_denied') showSignedOut('You did not sign in.')
      else if (error.isByPerson) showSignedOut('Your session has ended.')
      else showSignInTrouble()
    },
  )
  if (signedIn === undefined) return
  if (pending !== undefined && pending.subject !== signedIn.subject) {
    return showSomeoneElse(pending, signedIn.subject)
  }
  holdGrant(signedIn)
  showTopActions()
  if (!isForTransfer || pending.status === 'booked') return route()
  const scope = pending.confirmation?.parameters.scope ?? transferScope
  return holdsScope(signedIn.grant, scope) ? deliver(pending) : showPendingTransfer(pending, 'failed')
}

/** Shows what the address says: accounts, one account, or the transfer that is under way. */
async function route(): Promise<void> {
  latestTurn += 1
  const turn = latestTurn
  showTopActions()
  const hash = location.hash === '' ? '#/' : location.hash
  const pending = pendingTransfer.read()
  if (pending !== undefined && hash.startsWith(transferHash)) return showPendingTransfer(pending)
  // Whoever goes elsewhere gives up what was not sent. What may have been booked is kept until its
  // outcome is known, or the person dismisses it or signs out.
  if (pending !== undefined && pending.status !== 'sent') pendingTransfer.forget()

  const grant = readingGrant()
  const subject = signedInSubject.read()
  if (grant === undefined || subject === undefined) {
    if (subject === undefined) return showSignedOut()
    return leave({ scope: readScope }, { purpose: 'read', returnTo: hash, prompt: 'none' })
  }
  const accounts = await whileWaiting('Your accounts', readAccounts(grant), accountsPlaceholder())
  grantHasWorked = true
  if (turn !== latestTurn) return
  const [, place, id] = hash.split('/')
  const account = accounts.find(({ resourceId }) => resourceId === id)
  if (place === 'transfer') {
    const { typed, faults } = draft.find(subject, hash) ?? {}
    const actions = {
      keep: (typed: TypedTransfer) => draft.save({ subject, place: hash, typed }),
      submit: (order: TransferOrder) => beginTransfer(order, subject),
      cancel: draft.forget,
    }
    return show(transferFormScreen(accounts, { typed, debtorId: id, faults }, actions))
  }
  if (place === 'accounts' && account !== undefined) return showTransactions(account, [])
  const dismiss = () => {
    pendingTransfer.forget()
    return route()
  }
  show(
    accountsScreen(accounts, pending?.status === 'sent' ? unfinishedNotice(pending, { resume, dismiss }) : undefined),
  )
}

async function showTransactions(account: Account, shown: readonly Transaction[], cursor?: string): Promise<void> {
  const grant = readingGrant()
  if (grant === undefined) return route()
  const turn = latestTurn
  const page = await whileWaiting(
    account.name,
    readTransactions(grant, account.resourceId, cursor),
    accountsPlaceholder(),
  )
  if (turn !== latestTurn) return
  const transactions = [...shown, ...page.transactions]
  const { nextCursor } = page
  const readMore = nextCursor === undefined ? undefined : () => showTransactions(account, transactions, nextCursor)
  show(transactionsScreen({ account, transactions, readMore }))
}

function showSignedOut(notice?: string): void {
  signedInSubject.forget()
  dropGrant()
  showTopActions()
  const signIn = () => leave({ scope: readScope }, { purpose: 'read', returnTo: location.hash })
  show(signedOutScreen({ signIn, ...(notice !== undefined && { notice }) }))
}

function showSomeoneElse({ subject, status }: PendingTransfer, other: string): void {
  const standing =
    status === 'not-sent'
      ? 'So nothing was sent. Sign out, and begin again.'
      : `So this page does not ask what became of it: the transactions of ${subject} show whether it was made.`
  const text = [`The transfer in this tab was begun by ${subject}, and now ${other} has signed in.`, standing]
  const actions = [actionButton('Sign out', endSession, 'primary')]
  show(troubleScreen({ title: 'Someone else has signed in', text, actions }))
}

function showSignInTrouble(): void {
  const text = ['The sign-in page ran into a problem. That is our fault and not yours. Nothing is lost.']
  const actions = [actionButton('Try again', route, 'primary')]
  show(troubleScreen({ title: 'The sign-in did not work', text, actions }))
}

/** Shows the transfer whose outcome is open. */
function resume(): Promise<void> {
  location.hash = transferHash
  return route()
}

function showAccounts(): Promise<void> {
  location.hash = '#/'
  return route()
}

/** Ends the session here and at the authorization server. Says so when only the first was possible. */
async function endSession(): Promise<void> {
  try {
    await signOut()
  } catch (error) {
    if (!(error instanceof Unreachable)) reportError(error)
    const text = [
      'This page has forgotten you, but the sign-in page could not be reached. Until you have signed out there, somebody else at this browser may get in without a password.',
    ]
    showTopActions()
    const actions = [actionButton('Try again', endSession, 'primary')]
    show(troubleScreen({ title: 'You are not quite signed out', text, actions }))
  }
}

/** Signing out forgets what may have been booked, so the person is told before. */
function beginSignOut(): void | Promise<void> {
  const pending = pendingTransfer.read()
  if (pending?.status !== 'sent') return endSession()
  const findOut = isPastFindingOut(pending) ? undefined : resume
  show(signOutScreen(pending, { findOut, showAccounts, signOut: endSession }))
}

function showTopActions(): void {
  const subject = signedInSubject.read()
  const session =
    subject === undefined ? [] : [h('span', { class: 'who' }, subject), actionButton('Sign out', beginSignOut)]
  byId('top-actions').replaceChildren(...session, panelToggle)
}

/** Runs a step, and shows what stopped it. */
async function attempt(step: () => void | Promise<void>): Promise<void> {
  try {
    await step()
  } catch (error) {
    const again = actionButton('Try again', route, 'primary')
    if (error instanceof TokenRefused || error instanceof StepUpRequired) {
      if (!grantHasWorked) return showSignedOut('The bank does not take your sign-in.')
      grantHasWorked = false
      dropGrant()
      return attempt(route)
    }
    if (error instanceof Unreachable) {
      const who = error.origin === new URL(issuer).origin ? 'The sign-in page' : 'The bank'
      const text = ['Perhaps your connection is down, or ours. Nothing is lost: try again in a moment.']
      return show(troubleScreen({ title: `${who} cannot be reached`, text, actions: [again] }))
    }
    if (error instanceof ApiProblem) {
      const text = ['It cannot answer right now. Nothing is lost: try again in a moment.']
      return show(troubleScreen({ title: 'The bank is busy', text, actions: [again] }))
    }
    if (error instanceof UnexpectedAnswer) {
      const text = [
        'The sign-in that just came back was not begun in this tab, or was finished before. To be safe, it was not used.',
      ]
      return show(troubleScreen({ title: 'This sign-in does not belong here', text, actions: [again] }))
    }
    reportError(error)
    const text = ['That is our fault and not yours. Nothing is lost: try again in a moment.']
    show(troubleScreen({ title: 'Something went wrong', text, actions: [again] }))
  }
}
