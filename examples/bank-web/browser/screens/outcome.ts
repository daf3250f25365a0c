import { isProblem, type Problem } from '../bank.js'
import { actionButton, type Screen } from '../display.js'
import { h } from '../dom.js'
import type { OpenTransfer } from '../session.js'
import type { Booking } from '../transfer.js'
import { orderSummary } from './order-summary.js'

/** The transfer was made. */
export function receiptScreen(booking: Booking, showAccounts: () => void): Screen {
  return {
    title: 'Transfer made',
    content: [
      h(
        'p',
        { class: 'lead good' },
        booking.replayed
          ? 'It had been made the first time, and was not made again.'
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
  { order }: OpenTransfer,
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

/** It may have been made, and the bank may have forgotten its key, so it must not be sent again. */
export function forgottenScreen(
  { order }: OpenTransfer,
  { showAccounts, dismiss }: { showAccounts: () => void; dismiss: () => void },
): Screen {
  return {
    title: 'Only your transactions tell now',
    content: [
      h(
        'p',
        {},
        'This transfer may have been made, or not. The bank recognises a transfer for 24 hours, and it was begun about that long ago: if it were sent again now, it could be made twice.',
      ),
      h(
        'p',
        {},
        'Open your account and look for it among the transactions. If it is not there, you can begin it anew.',
      ),
      orderSummary(order),
      h(
        'div',
        { class: 'actions' },
        actionButton('Go to your accounts', showAccounts, 'primary'),
        actionButton('Dismiss', dismiss),
      ),
    ],
  }
}

/** Before a session ends in which a transfer's outcome is open. `findOut` is there while the bank can tell. */
export function signOutScreen(
  { order }: OpenTransfer,
  actions: {
    findOut: (() => Promise<void>) | undefined
    showAccounts: () => Promise<void>
    signOut: () => Promise<void>
  },
): Screen {
  const { findOut, showAccounts, signOut } = actions
  return {
    title: 'Before you sign out',
    content: [
      h(
        'p',
        {},
        'We do not know yet whether this transfer was made, and signing out forgets it. Look at your transactions before you send it again.',
      ),
      orderSummary(order),
      h(
        'div',
        { class: 'actions' },
        findOut
          ? actionButton('Find out', findOut, 'primary')
          : actionButton('Go to your accounts', showAccounts, 'primary'),
        actionButton('Sign out anyway', signOut),
      ),
    ],
  }
}

/** The bank is busy, and did not take this attempt. */
export function laterScreen(
  { order }: OpenTransfer,
  { again, discard }: { again: () => Promise<void>; discard: () => void },
): Screen {
  return {
    title: 'The bank is busy',
    content: [
      h(
        'p',
        {},
        'It could not take your transfer just now. Try again in a moment: that cannot make it twice, and your confirmation stays good for a short while.',
      ),
      orderSummary(order),
      h(
        'div',
        { class: 'actions' },
        actionButton('Try again', again, 'primary'),
        actionButton('Drop this transfer', discard),
      ),
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
  { order }: OpenTransfer,
  problem: Problem,
  { change, discard }: { change: () => void; discard: () => void },
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
