import { actionButton, type Screen } from '../display.js'
import { h } from '../dom.js'
import { formatMoney } from '../money.js'
import type { ConfirmationReason, PendingTransfer } from '../session.js'
import { orderSummary } from './order-summary.js'

const cannotHappenTwice = 'It cannot be made twice: if it has been made already, you will see its receipt.'

/** Why the person is asked, in words that need no glossary. */
const words: Readonly<Record<ConfirmationReason, { title: string; text: readonly string[] }>> = {
  needed: {
    title: 'One more proof is needed',
    text: [
      'Your password was enough to look at your accounts. To move money, the bank wants to be sure that it is you at this moment, and asks for a code from your authenticator app.',
      'You go to the bank’s sign-in page and come straight back. No money has been moved yet.',
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

/** Explains why more is asked for, and lets the person go there or let it be. `cancelled` says that they came back without. */
export function confirmationScreen(
  { order, confirmation, status }: PendingTransfer,
  { confirm, discard, cancelled = false }: { confirm: () => Promise<void>; discard: () => void; cancelled?: boolean },
): Screen {
  const { title, text } = words[confirmation?.reason ?? 'needed']
  const [cancelledTitle, cancelledText] =
    status === 'not-sent'
      ? ['You did not confirm', 'So nothing was sent. You can still confirm this transfer, or drop it.']
      : ['You did not confirm', `So we still do not know what became of this transfer. ${cannotHappenTwice}`]
  return {
    title: cancelled ? cancelledTitle : title,
    content: [
      ...(cancelled ? [cancelledText] : text).map((paragraph) => h('p', {}, paragraph)),
      orderSummary(order),
      h(
        'div',
        { class: 'actions' },
        actionButton('Confirm with a code', confirm, 'primary'),
        actionButton(status === 'not-sent' ? 'Drop this transfer' : 'Not now', discard),
      ),
    ],
  }
}

/** On the accounts screen, while a transfer's outcome is open. */
export function unfinishedNotice({ order }: PendingTransfer, resume: () => void): HTMLElement {
  const amount = formatMoney(order.instructedAmount)
  return h(
    'section',
    { class: 'notice', 'aria-label': 'Unfinished transfer' },
    h('p', {}, `We do not know yet whether your transfer of ${amount} was made.`),
    actionButton('Find out', resume),
  )
}
