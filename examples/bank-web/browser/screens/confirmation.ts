import { actionButton, type Screen } from '../display.js'
import { h } from '../dom.js'
import { formatMoney } from '../money.js'
import { type ConfirmationReason, isPastFindingOut, type OpenTransfer } from '../session.js'
import { orderSummary } from './order-summary.js'

const cannotHappenTwice =
  'It cannot be made twice: if it has been made already, you will see its receipt, and if not, it is made now.'

/** A heading, and paragraphs. */
interface Words {
  readonly title: string
  readonly text: readonly string[]
}

/** Why the person is asked, in words that need no glossary. */
const reasons: Readonly<Record<ConfirmationReason, Words>> = {
  needed: {
    title: 'One more proof is needed',
    text: [
      'Your password was enough to look at your accounts. To move money, the bank wants to be sure that it is you at this moment, and asks for a code from your authenticator app.',
      'You go to the bank’s sign-in page and come straight back. No money has been moved yet.',
    ],
  },
  again: {
    title: 'The bank asks for another proof',
    text: [
      'The confirmation that you just gave was not enough for this transfer. The bank says what it wants instead.',
    ],
  },
  'in-vain': {
    title: 'Your confirmation was not accepted',
    text: [
      'You gave the bank just what it asked for, and it asks for the same again. That is our fault and not yours.',
      'Another code will hardly help now. Try again later.',
    ],
  },
  used: {
    title: 'That confirmation was already used',
    text: ['A confirmation works once, and this one had been used. Confirm again to go on.', cannotHappenTwice],
  },
  expired: {
    title: 'That confirmation is no longer valid',
    text: ['A confirmation is good for two minutes. Confirm again to go on.', cannotHappenTwice],
  },
  'find-out': {
    title: 'Confirm, and we will know',
    text: ['The bank tells what became of this transfer once you confirm again that it is you.', cannotHappenTwice],
  },
}

/** What is said to those who come back without a confirmation, before what it means for the transfer. */
const returns: Readonly<Record<'cancelled' | 'failed', Words>> = {
  cancelled: { title: 'You did not confirm', text: [] },
  failed: {
    title: 'Confirming did not work',
    text: ['The sign-in page ran into a problem. That is our fault and not yours.'],
  },
}

/** What the person may rely on, whatever went wrong. */
const standings: Readonly<Record<OpenTransfer['status'], string>> = {
  'not-sent': 'No money has been moved.',
  sent: `We still do not know what became of this transfer. ${cannotHappenTwice}`,
}
const choice = 'You can still confirm this transfer, or drop it.'

/** Explains why more is asked for, and lets the person go there or let it be. `returned` says that they came back without. */
export function confirmationScreen(
  { order, confirmation, status }: OpenTransfer,
  {
    confirm,
    discard,
    returned,
  }: { confirm: () => void | Promise<void>; discard: () => void; returned?: keyof typeof returns | undefined },
): Screen {
  const reason = confirmation?.reason ?? 'needed'
  const { title, text } = returned === undefined ? reasons[reason] : returns[returned]
  const paragraphs = [...text]
  if (returned !== undefined && status === 'not-sent') paragraphs.push(`${standings[status]} ${choice}`)
  else if (returned !== undefined || reason === 'again' || reason === 'in-vain') paragraphs.push(standings[status])
  const discardLabel = status === 'not-sent' ? 'Drop this transfer' : 'Not now'
  const actions =
    reason === 'in-vain'
      ? [actionButton(discardLabel, discard, 'primary'), actionButton('Confirm with a code', confirm)]
      : [actionButton('Confirm with a code', confirm, 'primary'), actionButton(discardLabel, discard)]
  return {
    title,
    content: [
      ...paragraphs.map((paragraph) => h('p', {}, paragraph)),
      orderSummary(order),
      h('div', { class: 'actions' }, ...actions),
    ],
  }
}

/** On the accounts screen, while a transfer's outcome is open. */
export function unfinishedNotice(
  pending: OpenTransfer,
  { resume, dismiss }: { resume: () => Promise<void>; dismiss: () => Promise<void> },
): HTMLElement {
  const amount = formatMoney(pending.order.instructedAmount)
  const isForgotten = isPastFindingOut(pending)
  return h(
    'section',
    { class: 'notice', 'aria-label': 'Unfinished transfer' },
    h(
      'p',
      {},
      isForgotten
        ? `Your transfer of ${amount} may have been made. Look for it among the transactions of your account before you send it again.`
        : `We do not know yet whether your transfer of ${amount} was made. If it was, it is among the transactions of your account.`,
    ),
    h(
      'div',
      { class: 'notice-actions' },
      isForgotten ? undefined : actionButton('Find out', resume),
      actionButton('Dismiss', dismiss),
    ),
  )
}
