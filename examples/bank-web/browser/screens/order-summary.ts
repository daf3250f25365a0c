import { h } from '../dom.js'
import { formatIban } from '../iban.js'
import { formatMoney } from '../money.js'
import type { Booking, TransferOrder } from '../transfer.js'

/** The transfer, as a person reads it over. */
export function orderSummary(order: TransferOrder, booking?: Booking): HTMLElement {
  const lines: [term: string, text: string | undefined][] = [
    ['To', order.creditorName],
    [order.creditorName === undefined ? 'To' : 'IBAN', formatIban(order.creditorAccount.iban)],
    ['From', formatIban(order.debtorAccount.iban)],
    ['Reference', order.remittanceInformationUnstructured],
    ['Booked', booking && formatTime(booking.bookedAt)],
    ['Transfer', booking?.transferId],
  ]
  return h(
    'div',
    { class: 'summary' },
    h('p', { class: 'amount' }, formatMoney(order.instructedAmount)),
    h(
      'dl',
      {},
      ...lines.flatMap(([term, text]) =>
        text === undefined ? [] : [h('div', {}, h('dt', {}, term), h('dd', {}, text))],
      ),
    ),
  )
}

/** Date and time as the reader's language writes them. */
export function formatTime(instant: string): string {
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(instant))
}
