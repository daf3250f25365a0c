import type { Account, Transaction } from '../bank.js'
import { actionButton, type Screen } from '../display.js'
import { type Child, h } from '../dom.js'
import { formatIban } from '../iban.js'
import { formatMoney } from '../money.js'
import { formatTime } from './order-summary.js'

/** All accounts with their balances. `notice` stands above them. */
export function accountsScreen(accounts: readonly Account[], notice?: Child): Screen {
  return {
    title: 'Your accounts',
    wide: true,
    content: [
      notice,
      accounts.length === 0
        ? h('p', {}, 'There are no accounts in your name at this bank.')
        : h('ul', { class: 'accounts' }, ...accounts.map(accountItem)),
      h('div', { class: 'actions' }, h('a', { class: 'button primary', href: '#/transfer' }, 'Make a transfer')),
    ],
  }
}

function accountItem({ resourceId, name, iban, balance }: Account): HTMLElement {
  return h(
    'li',
    {},
    h(
      'a',
      { href: `#/accounts/${resourceId}`, class: 'account' },
      h(
        'span',
        { class: 'account-names' },
        h('span', { class: 'account-name' }, name),
        h('span', { class: 'iban' }, formatIban(iban)),
      ),
      h('span', { class: 'balance' }, formatMoney(balance)),
    ),
  )
}

/** What came and went on one account. `readMore` is there when there is more; it gives the next ones. */
export function transactionsScreen({
  account,
  transactions,
  readMore,
}: {
  account: Account
  transactions: readonly Transaction[]
  readMore: (() => Promise<void>) | undefined
}): Screen {
  return {
    title: account.name,
    wide: true,
    content: [
      h(
        'p',
        { class: 'account-head' },
        h('span', { class: 'iban' }, formatIban(account.iban)),
        h('span', { class: 'balance' }, formatMoney(account.balance)),
      ),
      h('h2', {}, 'Transactions'),
      transactions.length === 0
        ? h('p', { class: 'quiet' }, 'Nothing has come or gone yet.')
        : h('ul', { class: 'transactions' }, ...transactions.map(transactionItem)),
      h(
        'div',
        { class: 'actions' },
        h('a', { class: 'button primary', href: `#/transfer/${account.resourceId}` }, 'Make a transfer'),
        readMore && actionButton('Show older ones', readMore),
        h('a', { class: 'button', href: '#/' }, 'All accounts'),
      ),
    ],
  }
}

function transactionItem(transaction: Transaction): HTMLElement {
  const { amount, bookedAt, counterparty, remittanceInformationUnstructured: reference } = transaction
  const isOutgoing = amount.amount.startsWith('-')
  return h(
    'li',
    {},
    h(
      'span',
      { class: 'account-names' },
      h('span', { class: 'account-name' }, reference ?? (isOutgoing ? 'Sent' : 'Received')),
      h('span', { class: 'iban' }, `${isOutgoing ? 'to' : 'from'} ${formatIban(counterparty.iban)}`),
      h('span', { class: 'quiet' }, formatTime(bookedAt)),
    ),
    h('span', { class: isOutgoing ? 'balance' : 'balance incoming' }, formatMoney(amount, 'exceptZero')),
  )
}

/** Two empty rows, where accounts or transactions will stand. */
export function accountsPlaceholder(): HTMLElement {
  const row = () => h('li', { class: 'account placeholder' })
  return h('ul', { class: 'accounts', 'aria-hidden': 'true' }, row(), row())
}
