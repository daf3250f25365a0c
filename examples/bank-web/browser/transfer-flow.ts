import { holdsScope, type StepUpParameters } from '../step-up-fetch.js'
import { currentGrant, dropTransferGrant, leave } from './access.js'
import { isProblem, type Problem, sendTransfer, transferNeeds } from './bank.js'
import { show, whileWaiting } from './display.js'
import { knowsScopes } from './panel.js'
import { confirmationScreen } from './screens/confirmation.js'
import { declinedScreen, forgottenScreen, laterScreen, receiptScreen, unknownScreen } from './screens/outcome.js'
import {
  type ConfirmationReason,
  draft,
  isPastFindingOut,
  type OpenTransfer,
  type PendingTransfer,
  pendingTransfer,
} from './session.js'
import { transferScope } from './settings.js'
import type { TransferOrder, TypedTransfer } from './transfer.js'

/** The address of the transfer, from the form to the receipt. */
export const transferHash = '#/transfer'
const changeHash = `${transferHash}/change`

/** Begins a transfer. Its key is made here, once. */
export async function beginTransfer(order: TransferOrder, subject: string): Promise<void> {
  await deliver({ idempotencyKey: crypto.randomUUID(), begunMs: Date.now(), order, subject, status: 'not-sent' })
}

/**
 * Sends a transfer with the token at hand, and shows what became of it. Whatever happens meanwhile (a reload, a crash, a
 * lost answer), what is stored says that it may have been sent, and with which key. What the API may have forgotten is not
 * sent again.
 */
export async function deliver({ confirmation, ...pending }: OpenTransfer): Promise<void> {
  if (isPastFindingOut(pending)) {
    await dropTransferGrant()
    return showPendingTransfer(pending)
  }
  const grant = currentGrant()
  if (grant === undefined) return askToConfirm(pending, reasonWithout(pending), transferNeeds(pending.order))
  const couldPay = holdsScope(grant, transferScope)
  const begunMs = pending.status === 'sent' ? pending.begunMs : Date.now()
  const sending = { ...pending, status: 'sent', begunMs } as const
  pendingTransfer.save(sending)
  const outcome = await whileWaiting(
    'Sending your transfer',
    sendTransfer(grant, pending, { knowsScopes: knowsScopes() }),
  )
  const stored = pendingTransfer.read()
  // Meanwhile the person has signed out or dismissed it, or another try has found out.
  if (stored?.idempotencyKey !== pending.idempotencyKey || stored.status === 'booked') return
  switch (outcome.kind) {
    case 'booked': {
      const booked = { ...sending, status: 'booked', booking: outcome.booking } as const
      pendingTransfer.save(booked)
      draft.forget()
      await dropTransferGrant()
      return showPendingTransfer(booked)
    }
    case 'confirm': {
      const { reason, parameters, mayBeBooked } = outcome
      const refused = { ...sending, status: mayBeBooked ? 'sent' : 'not-sent' } as const
      pendingTransfer.save(refused)
      await dropTransferGrant()
      if (!couldPay) return askToConfirm(refused, reasonWithout(refused), parameters)
      const reasonNow = reason === 'needed' ? reasonAfterAll(refused, parameters) : reason
      return askToConfirm(refused, reasonNow, parameters, { isForPayment: true })
    }
    case 'declined': {
      const typed = draft.read()
      if (typed !== undefined) draft.save({ ...typed, faults: faultsOf(outcome.problem) })
      pendingTransfer.forget()
      await dropTransferGrant()
      return show(declinedScreen(pending, outcome.problem, { change: backToForm, discard: backToAccounts }))
    }
    case 'later':
      pendingTransfer.save(pending)
      return show(laterScreen(pending, { again: () => deliver(pending), discard: backToAccounts }))
    case 'unknown':
      return showPendingTransfer(sending)
  }
}

/** Shows where a transfer stands, as after a reload, the back button, or a second thought. */
export function showPendingTransfer(pending: PendingTransfer, returned?: 'cancelled' | 'failed'): void {
  if (pending.status === 'booked') show(receiptScreen(pending.booking, backToAccounts))
  else if (isPastFindingOut(pending)) {
    const dismiss = () => {
      pendingTransfer.forget()
      backToAccounts()
    }
    show(forgottenScreen(pending, { showAccounts: backToAccounts, dismiss }))
  } else if (pending.confirmation !== undefined) {
    const { parameters } = pending.confirmation
    // A code that comes too late would be asked for in vain.
    const confirm = () =>
      isPastFindingOut(pending)
        ? showPendingTransfer(pending)
        : leave(parameters, { purpose: 'transfer', returnTo: transferHash })
    show(confirmationScreen(pending, { confirm, discard: backToAccounts, returned }))
  } else if (pending.status === 'not-sent') {
    // The bank was busy, and the token went with a reload.
    askToConfirm(pending, 'needed', transferNeeds(pending.order))
  } else show(unknownScreen(pending, { findOut: () => deliver(pending), later: backToAccounts }))
}

/** `isForPayment` asks for a token for this payment again, which the refusal of one does not repeat. */
function askToConfirm(
  pending: OpenTransfer,
  reason: ConfirmationReason,
  wanted: StepUpParameters,
  { isForPayment = false } = {},
): void {
  const parameters = { ...(isForPayment && transferNeeds(pending.order)), ...wanted }
  const waiting = { ...pending, confirmation: { reason, parameters }, asked: [...(pending.asked ?? []), wanted] }
  pendingTransfer.save(waiting)
  showPendingTransfer(waiting)
}

/** Why the person is asked though they have just confirmed. If that was for the very same, once more will hardly help. */
function reasonAfterAll({ asked = [] }: OpenTransfer, parameters: StepUpParameters): ConfirmationReason {
  const wanted = JSON.stringify(parameters)
  return asked.some((before) => JSON.stringify(before) === wanted) ? 'in-vain' : 'again'
}

/** Why the person is asked when there was no token for it yet. */
function reasonWithout({ status }: OpenTransfer): ConfirmationReason {
  return status === 'sent' ? 'find-out' : 'needed'
}

/** What is not sent is dropped on the way, and what was sent stays; see the router. */
function backToAccounts(): void {
  draft.forget()
  location.hash = '#/'
}

function backToForm(): void {
  location.hash = changeHash
}

/** What the API found wrong, by the fields of the form. */
function faultsOf(problem: Problem): TypedTransfer {
  if (isProblem(problem, 'insufficient-funds')) return { amount: 'The account holds less than this by now.' }
  if (isProblem(problem, 'not-found')) return { creditor: 'Nobody at this bank has this IBAN.' }
  const fields = [
    ['/creditorAccount/iban', 'creditor'],
    ['/instructedAmount/amount', 'amount'],
    ['/creditorName', 'creditorName'],
    ['/remittanceInformationUnstructured', 'reference'],
  ] as const
  return Object.fromEntries(
    fields.flatMap(([pointer, name]) => {
      const error = problem.errors?.find((candidate) => candidate.pointer === pointer)
      return error === undefined ? [] : [[name, `Expected: ${error.expected}.`]]
    }),
  )
}
