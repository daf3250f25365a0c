import type { AuthorizationDetail } from 'oidc-provider'
import { z } from 'zod'
import { inGroupsOfFour } from './groups-of-four.js'
import { errors } from './quiet-oidc-provider.js'

/** The one type of authorization details (RFC 9396) here: a payment, in the API's own words. */
export const paymentType = 'payment_initiation'

const account = z.strictObject({ iban: z.string().regex(/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/) })
const text = z.string().min(1).max(140)

const paymentSchema = z.strictObject({
  type: z.literal(paymentType),
  instructedAmount: z.strictObject({
    currency: z.string().regex(/^[A-Z]{3}$/),
    amount: z.string().regex(/^(0|[1-9]\d{0,14})(\.\d{1,4})?$/),
  }),
  creditorAccount: account,
  creditorName: text.optional(),
  debtorAccount: account.optional(),
  remittanceInformationUnstructured: text.optional(),
  locations: z.array(z.url()).optional(),
  actions: z.array(z.literal('initiate')).optional(),
})

/**
 * Refuses a payment whose form is wrong or that has unknown members (RFC 9396 §5: invalid_authorization_details), so
 * that nothing is approved that the page did not show. Does not know accounts or balances; the API judges those.
 */
export function validatePayment(detail: AuthorizationDetail): void {
  const result = paymentSchema.safeParse(detail)
  if (result.success) return
  const places = result.error.issues.map(({ path }) => `/${path.join('/')}`)
  throw new errors.InvalidAuthorizationDetails(`not a ${paymentType}: see ${[...new Set(places)].join(', ')}`)
}

/** The `authorization_details` parameter of a request, parsed. oidc-provider has validated it before. */
export function parsePayments(parameter: unknown): AuthorizationDetail[] {
  return typeof parameter === 'string' ? (JSON.parse(parameter) as AuthorizationDetail[]) : []
}

/** What the user reads before approving: amount and payee at least (PSD2 RTS Article 5, dynamic linking). */
export function describePayment(detail: AuthorizationDetail): [term: string, description: string][] {
  const payment = paymentSchema.parse(detail)
  const lines: [term: string, description: string | undefined][] = [
    ['Amount', `${payment.instructedAmount.amount} ${payment.instructedAmount.currency}`],
    ['To', inGroupsOfFour(payment.creditorAccount.iban)],
    ['Payee', payment.creditorName],
    ['From', payment.debtorAccount && inGroupsOfFour(payment.debtorAccount.iban)],
    ['Reference', payment.remittanceInformationUnstructured],
  ]
  return lines.filter((line): line is [string, string] => line[1] !== undefined)
}
