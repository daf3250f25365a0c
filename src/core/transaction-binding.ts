import { z } from 'zod'
import { currencyDigits } from './currencies.js'
import { parseAmount } from './money.js'

/** How transactions are bound to tokens. */
export interface TransactionBinding {
  /** Whether a token must have `authorization_details` (RFC 9396), which makes it dynamic linking (PSD2 RTS Article 5), or may. */
  mode: 'accept' | 'require'
  /** What names this API in `locations` (RFC 9396 §2.2). */
  location: string
}

/** One member of `authorization_details` (RFC 9396 §2), of any type. */
export type AuthorizationDetail = Readonly<{ type: string; [member: string]: unknown }>

/** The transaction that a request wants: a payment, its form already validated. */
export interface Payment {
  debtorIban: string
  creditorIban: string
  creditorName: string | undefined
  /** ISO 4217. */
  currency: string
  /** Decimal string, as the client wrote it, so that a receipt repeats the request. */
  amount: string
  amountMinorUnits: bigint
  remittanceInformation: string | undefined
}

const accountReference = z.strictObject({ iban: z.string() })

/** The one type of authorization details that binds a token to a payment: this much of a payment may be said, and no more. */
export const paymentInitiationSchema = z
  .strictObject({
    type: z.literal('payment_initiation'),
    locations: z.array(z.string()).optional(),
    actions: z.array(z.string()).optional(),
    instructedAmount: z.strictObject({ currency: z.string(), amount: z.string() }),
    debtorAccount: accountReference.optional(),
    creditorAccount: accountReference,
    creditorName: z.string().optional(),
    remittanceInformationUnstructured: z.string().optional(),
  })
  .meta({
    id: 'PaymentInitiation',
    description: 'Authorization details (RFC 9396) of a payment, for an authorization request.',
  })

export type PaymentInitiation = z.infer<typeof paymentInitiationSchema>

/**
 * Reads the claim `authorization_details`. Returns undefined when it is not an array of objects that each have a `type`
 * (RFC 9396 §2). Does not look into the details: what a type means is decided where a transaction is at hand.
 */
export function readAuthorizationDetails(claim: unknown): readonly AuthorizationDetail[] | undefined {
  const wellFormed =
    Array.isArray(claim) &&
    claim.every((detail) => typeof detail === 'object' && detail !== null && typeof detail.type === 'string')
  return wellFormed ? claim : undefined
}

/**
 * Whether a token with these details may make this payment. Exactly one detail, of type `payment_initiation`; amount, currency and
 * creditor are there and equal by value ("123.5" is "123.50"), whatever else is there is equal too, and a member that we do
 * not know counts as not equal, because the user may have meant it as a limit.
 */
export function isPaymentAuthorized(
  details: readonly AuthorizationDetail[] | undefined,
  payment: Payment,
  { mode, location }: TransactionBinding,
): boolean {
  if (details === undefined) return mode !== 'require'
  const authorized = paymentInitiationSchema.safeParse(details[0])
  if (details.length !== 1 || !authorized.success) return false
  const { locations, actions, instructedAmount, debtorAccount, creditorAccount, ...texts } = authorized.data
  const digits = currencyDigits(instructedAmount.currency)
  return (
    instructedAmount.currency === payment.currency &&
    digits !== undefined &&
    parseAmount(instructedAmount.amount, digits) === payment.amountMinorUnits &&
    creditorAccount.iban === payment.creditorIban &&
    isEqualWhenPresent(debtorAccount?.iban, payment.debtorIban) &&
    isEqualWhenPresent(texts.creditorName, payment.creditorName) &&
    isEqualWhenPresent(texts.remittanceInformationUnstructured, payment.remittanceInformation) &&
    (locations === undefined || locations.includes(location)) &&
    (actions === undefined || actions.includes('initiate'))
  )
}

function isEqualWhenPresent(authorized: string | undefined, wanted: string | undefined): boolean {
  return authorized === undefined || authorized === wanted
}

/** What to ask the authorization server for: a detail that binds a token to exactly this payment. */
export function describePayment(payment: Payment): PaymentInitiation {
  const { creditorName, remittanceInformation } = payment
  return {
    type: 'payment_initiation',
    instructedAmount: { currency: payment.currency, amount: payment.amount },
    debtorAccount: { iban: payment.debtorIban },
    creditorAccount: { iban: payment.creditorIban },
    ...(creditorName === undefined ? {} : { creditorName }),
    ...(remittanceInformation === undefined ? {} : { remittanceInformationUnstructured: remittanceInformation }),
  }
}
