import { isProblem, type Problem } from '../bank.js'
import { actionButton, type Screen } from '../display.js'
import { h } from '../dom.js'
import type { PendingTransfer } from '../session.js'
import type { Booking } from '../transfer.js'
import { orderSummary } from './order-summary.js'

/** The transfer was made. */
export function receiptScreen(booking: Booking, showAccounts: () => Promise<void>): Screen {
  return {
    title: 'Transfer made',
    content: [
      h(
        'p',
        { class: 'lead good' },
        booking.replayed
          ? 'It had been made the first time. Nothing was sent twice.'
          : 'It is booked, and the money has left your account.',
      ),
      orderSummary(booking, booking),
      h(
        'p',
        { class: 'quiet' },
        'Your confirmation was good for this one transfer. It is used up, and this page has forgotten it.',
      ),
      h('div', { class: 'actions' }, actionButton('Back to your accounts', showAccounts, 'primary')),
    ],
  }
}

/** There was no answer, or none that can be relied on: it may have been made, or not. */
export function unknownScreen(
  { order }: PendingTransfer,
  { findOut, later }: { findOut: () => Promise<void>; later: () => void },
): Screen {
  return {
    title: 'We do not know yet',
    content: [
      h('p', {}, 'No clear answer came from the bank, so this transfer may have been made, or not.'),
      h(
        'p',
        {},
        'Ask again: the bank recognises this transfer and will not make it twice. If it has not been made, it is made now.',
      ),
      orderSummary(order),
      h('div', { class: 'actions' }, actionButton('Find out', findOut, 'primary'), actionButton('Not now', later)),
    ],
  }
}

/** The bank is busy, and nothing was booked. */
export function laterScreen(
  { order }: PendingTransfer,
  { again, discard }: { again: () => Promise<void>; discard: () => void },
): Screen {
  return {
    title: 'The bank is busy',
    content: [
      h('p', {}, 'Nothing was sent. Try again in a moment; your confirmation stays good for two minutes.'),
      orderSummary(order),
      h('div', { class: 'actions' }, actionButton('Try again', again, 'primary'), actionButton('Not now', discard)),
    ],
  }
}

const declines: readonly (readonly [name: string, title: string, text: string])[] = [
  ['insufficient-funds', 'There is not enough money', 'The account holds less than this transfer by now.'],
  [
    'not-found',
    'There is no such account',
    'Nobody at this bank has the IBAN that you entered, or the account is not yours.',
  ],
  ['currency-mismatch', 'The currencies differ', 'The other account is kept in another currency.'],
  ['same-account', 'It is the same account', 'The money would go to the account it comes from.'],
]

/** The bank said no, and nothing was moved. */
export function declinedScreen(
  { order }: PendingTransfer,
  problem: Problem,
  { change, discard }: { change: () => Promise<void>; discard: () => Promise<void> },
): Screen {
  const [, title, text] = declines.find(([name]) => isProblem(problem, name)) ?? [
    '',
    'The bank declined',
    problem.detail ?? 'It did not say why.',
  ]
  return {
    title,
    content: [
      h('p', {}, text),
      h('p', {}, 'No money was moved. Your confirmation was for this one attempt; another one needs another code.'),
      orderSummary(order),
      h(
        'div',
        { class: 'actions' },
        actionButton('Change the transfer', change, 'primary'),
        actionButton('Back to your accounts', discard),
      ),
    ],
  }
}
