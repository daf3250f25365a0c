import type { Account } from '../bank.js'
import { actionButton, announce, type Screen } from '../display.js'
import { h } from '../dom.js'
import { readIban } from '../iban.js'
import { digitsOf, formatMoney, isMore, readAmount } from '../money.js'
import type { FieldName, TransferOrder, TypedTransfer } from '../transfer.js'

const maxTextLength = 140

/** What the form starts with. */
export interface FormStart {
  readonly typed?: TypedTransfer | undefined
  /** The account that the money comes from, unless another one was chosen. */
  readonly debtorId?: string | undefined
  /** What the API found wrong. */
  readonly faults?: TypedTransfer | undefined
}

/** What becomes of the form. */
export interface FormActions {
  /** Gets all that is typed, after each change. */
  keep(typed: TypedTransfer): void
  /** Gets an order whose form is right; whether there is the money, the API decides. */
  submit(order: TransferOrder): Promise<void>
  cancel(): void
}

/** The form of a transfer. */
export function transferFormScreen(
  accounts: readonly Account[],
  { typed = {}, debtorId, faults = {} }: FormStart,
  { keep, submit, cancel }: FormActions,
): Screen {
  const chosen =
    accounts.find(({ iban }) => iban === typed.debtor) ?? accounts.find(({ resourceId }) => resourceId === debtorId)
  const debtor = field(
    'From',
    h(
      'select',
      { id: 'debtor', name: 'debtor' },
      ...accounts.map(({ iban, name, balance }) =>
        h('option', { value: iban, selected: iban === chosen?.iban }, `${name} (${formatMoney(balance)})`),
      ),
    ),
  )
  const creditor = field(
    'To (IBAN)',
    h('input', {
      id: 'creditor',
      name: 'creditor',
      autocomplete: 'off',
      autocapitalize: 'characters',
      spellcheck: 'false',
      value: typed.creditor ?? '',
    }),
    'Letters and digits, with or without spaces.',
  )
  const creditorName = field(
    'Name of the recipient, if you like',
    h('input', { id: 'creditorName', name: 'creditorName', autocomplete: 'off', value: typed.creditorName ?? '' }),
  )
  const amount = field(
    'Amount',
    h('input', {
      id: 'amount',
      name: 'amount',
      autocomplete: 'off',
      inputmode: 'decimal',
      value: typed.amount ?? '',
    }),
    'In the currency of the account it comes from.',
  )
  const reference = field(
    'Reference, if you like',
    h('input', {
      id: 'reference',
      name: 'reference',
      autocomplete: 'off',
      value: typed.reference ?? '',
    }),
  )
  const fields = { debtor, creditor, creditorName, amount, reference }
  const submitButton = actionButton('Continue', trySubmit, 'primary')
  submitButton.type = 'submit'
  const form = h(
    'form',
    { novalidate: true, submit: (event) => event.preventDefault(), input: () => keep(readTyped(fields)) },
    ...Object.values(fields).map(({ element }) => element),
    h('div', { class: 'actions' }, submitButton, h('a', { class: 'button', href: '#/', click: cancel }, 'Cancel')),
  )

  async function trySubmit(): Promise<void> {
    const read = readOrder(accounts, fields)
    if ('faults' in read) showFaults(read.faults)
    else await submit(read.order)
  }

  /** Marks every fault and moves the focus to the first one. */
  function showFaults(found: TypedTransfer): void {
    const names = Object.keys(fields) as FieldName[]
    for (const name of names) fields[name].mark(found[name])
    const faulty = names.filter((name) => found[name] !== undefined)
    announce(faulty.length === 1 ? 'One field needs another look.' : `${faulty.length} fields need another look.`)
    fields[faulty[0] as FieldName].control.focus()
  }

  for (const [name, { mark }] of Object.entries(fields)) mark(faults[name as FieldName])
  return {
    title: 'Make a transfer',
    content: [form],
    focus: () => Object.values(fields).find(({ control }) => control.hasAttribute('aria-invalid'))?.control ?? null,
  }
}

interface Field {
  readonly element: HTMLElement
  readonly control: HTMLInputElement | HTMLSelectElement
  /** Shows what is wrong, tied to the control; undefined takes it away. */
  mark(fault: string | undefined): void
}

function field(label: string, control: Field['control'], hint?: string): Field {
  const hintId = `${control.id}-hint`
  const faultId = `${control.id}-fault`
  const fault = h('p', { id: faultId, class: 'fault' })
  const element = h(
    'div',
    { class: 'field' },
    h('label', { for: control.id }, label),
    control,
    hint === undefined ? undefined : h('p', { id: hintId, class: 'hint' }, hint),
    fault,
  )
  return {
    element,
    control,
    mark(text) {
      fault.textContent = text ?? ''
      if (text === undefined) control.removeAttribute('aria-invalid')
      else control.setAttribute('aria-invalid', 'true')
      const ids = [...(text === undefined ? [] : [faultId]), ...(hint === undefined ? [] : [hintId])]
      if (ids.length === 0) control.removeAttribute('aria-describedby')
      else control.setAttribute('aria-describedby', ids.join(' '))
    },
  }
}

function readTyped(fields: Record<FieldName, Field>): TypedTransfer {
  return Object.fromEntries(Object.entries(fields).map(([name, { control }]) => [name, control.value]))
}

function readOrder(
  accounts: readonly Account[],
  fields: Record<FieldName, Field>,
): { order: TransferOrder } | { faults: TypedTransfer } {
  const text = (name: FieldName) => fields[name].control.value.trim()
  const debtor = accounts.find(({ iban }) => iban === text('debtor'))
  if (debtor === undefined) return { faults: { debtor: 'Choose the account that the money comes from.' } }
  const creditor = readIban(text('creditor'))
  const amount = readAmount(text('amount'), digitsOf(debtor.balance))
  const faults: TypedTransfer = {
    ...('fault' in creditor && { creditor: creditor.fault }),
    ...('iban' in creditor && creditor.iban === debtor.iban && { creditor: 'This is the account it comes from.' }),
    ...('fault' in amount && { amount: amount.fault }),
    ...('amount' in amount &&
      isMore(amount.amount, debtor.balance) && { amount: `This account holds ${formatMoney(debtor.balance)}.` }),
    ...tooLong('creditorName', text('creditorName')),
    ...tooLong('reference', text('reference')),
  }
  if ('fault' in creditor || 'fault' in amount || Object.keys(faults).length > 0) return { faults }
  const [creditorName, reference] = [text('creditorName'), text('reference')]
  return {
    order: {
      debtorAccount: { iban: debtor.iban },
      creditorAccount: { iban: creditor.iban },
      ...(creditorName !== '' && { creditorName }),
      instructedAmount: { currency: debtor.balance.currency, amount: amount.amount },
      ...(reference !== '' && { remittanceInformationUnstructured: reference }),
    },
  }
}

function tooLong(name: FieldName, text: string): TypedTransfer {
  return [...text].length > maxTextLength ? { [name]: `At most ${maxTextLength} characters.` } : {}
}
