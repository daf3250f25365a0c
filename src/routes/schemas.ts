import { z } from 'zod'
import { currencyDigits } from '../core/currencies.js'
import { isIban } from '../core/iban.js'
import { parseAmount } from '../core/money.js'
import type { TransferInstruction } from '../ledger/ledger.js'

const maxTextLength = 140

/** A JSON object with exactly these members; the messages say what is expected, never what was found. */
function closedObject<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const members = Object.keys(shape)
  const expected = members.length === 0 ? 'no members' : `only the members ${members.join(', ')}`
  return z.strictObject(shape, { error: (issue) => (issue.code === 'unrecognized_keys' ? expected : 'an object') })
}

/** A text that a person may read: neither control characters nor lone surrogates, counted in code points. */
const text = z
  .string({ error: `a text of 1 to ${maxTextLength} characters` })
  .refine(
    (value) => value !== '' && [...value].length <= maxTextLength && !/[\p{Cc}\p{Surrogate}]/u.test(value),
    `a text of 1 to ${maxTextLength} characters without control characters`,
  )
  .meta({ minLength: 1, maxLength: maxTextLength })

const iban = z
  .string({ error: 'an IBAN' })
  .refine(isIban, 'an IBAN in upper case, without spaces, with right check digits')
  .meta({ id: 'Iban', description: 'ISO 13616, electronic form', examples: ['DE89370400440532013000'] })

const accountReference = closedObject({ iban }).meta({ id: 'AccountReference' })

const currency = z
  .string({ error: 'an ISO 4217 currency code' })
  .refine((code) => currencyDigits(code) !== undefined, 'an ISO 4217 currency code')
  .meta({ id: 'Currency', description: 'ISO 4217 code', examples: ['EUR'] })

const instructedAmount = closedObject({
  currency,
  amount: z
    .string({ error: 'a decimal string such as "123.50"' })
    .meta({ pattern: '^(0|[1-9][0-9]{0,14})(\\.[0-9]{1,4})?$', examples: ['123.50'] }),
})
  .superRefine((value, context) => {
    const digits = currencyDigits(value.currency)
    if (digits === undefined) return
    const minorUnits = parseAmount(value.amount, digits)
    if (minorUnits !== undefined && minorUnits > 0n) return
    const message = `a decimal string above 0 with at most ${digits} decimals and 18 digits, such as "123${digits === 0 ? '' : `.${'5'.padEnd(digits, '0')}`}"`
    context.addIssue({ code: 'custom', path: ['amount'], message })
  })
  .meta({
    id: 'InstructedAmount',
    description: 'More than 0, as a decimal string with at most the digits of the currency.',
  })

/** `POST /transfers`: the body as the client sends it. */
const transferRequest = closedObject({
  debtorAccount: accountReference,
  creditorAccount: accountReference,
  creditorName: text.optional(),
  instructedAmount,
  remittanceInformationUnstructured: text.optional(),
}).meta({
  id: 'TransferRequest',
  examples: [
    {
      debtorAccount: { iban: 'DE89370400440532013000' },
      creditorAccount: { iban: 'GB33BUKB20201555555555' },
      instructedAmount: { currency: 'EUR', amount: '123.50' },
    },
  ],
})

/** The same body, parsed into an instruction for the ledger. */
export const transferInstructionSchema = transferRequest.transform(
  (body): TransferInstruction => ({
    debtorIban: body.debtorAccount.iban,
    creditorIban: body.creditorAccount.iban,
    creditorName: body.creditorName,
    currency: body.instructedAmount.currency,
    amount: body.instructedAmount.amount,
    amountMinorUnits: parseAmount(
      body.instructedAmount.amount,
      currencyDigits(body.instructedAmount.currency) as number,
    ) as bigint,
    remittanceInformation: body.remittanceInformationUnstructured,
  }),
)

/** A booked transfer: the request, with what the bank adds. */
export const transferSchema = closedObject({
  transferId: z.uuid(),
  status: z.literal('booked'),
  bookedAt: z.iso.datetime(),
  ...transferRequest.shape,
}).meta({ id: 'Transfer' })

const amount = closedObject({ currency, amount: z.string().regex(/^-?\d{1,18}(\.\d{1,4})?$/) }).meta({
  id: 'Amount',
  description: 'A decimal string with exactly the digits of the currency; negative when money left the account.',
  examples: [{ currency: 'EUR', amount: '1200.00' }],
})

export const accountSchema = closedObject({
  resourceId: z.uuid(),
  iban,
  name: z.string(),
  currency,
  balance: amount,
}).meta({ id: 'Account' })

export const accountListSchema = closedObject({ accounts: z.array(accountSchema) }).meta({ id: 'AccountList' })

export const transactionListSchema = closedObject({
  transactions: z.array(
    closedObject({
      transferId: z.uuid(),
      bookedAt: z.iso.datetime(),
      counterparty: accountReference,
      amount,
      remittanceInformationUnstructured: z.string().optional(),
    }),
  ),
  nextCursor: z.string().optional(),
}).meta({ id: 'TransactionList', description: 'Newest first. nextCursor is there when there are more.' })

export const pageQuerySchema = closedObject({
  limit: z
    .string({ error: 'one whole number from 1 to 100' })
    .regex(/^(?:[1-9][0-9]?|100)$/, 'one whole number from 1 to 100')
    .default('50')
    .transform(Number)
    .meta({ description: 'Number of transactions, 1 to 100; 50 by default.' }),
  cursor: z
    .string({ error: 'one nextCursor of an earlier answer' })
    .regex(/^[1-9][0-9]{0,14}$/, 'one nextCursor of an earlier answer')
    .transform(Number)
    .optional()
    .meta({ description: 'The nextCursor of the answer before.' }),
})

export const emptyQuerySchema = closedObject({})
