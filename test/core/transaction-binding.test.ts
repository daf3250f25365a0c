import fc from 'fast-check'
import t from 'tap'
import { currencyDigits } from '#src/core/currencies.js'
import { formatAmount } from '#src/core/money.js'
import {
  type AuthorizationDetail,
  describePayment,
  isPaymentAuthorized,
  type Payment,
  readAuthorizationDetails,
} from '#src/core/transaction-binding.js'

const accept = { mode: 'accept', location: 'https://api.example' } as const
const text = fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: undefined })
const payments: fc.Arbitrary<Payment> = fc
  .record({
    debtorIban: fc.constantFrom('DE89370400440532013000', 'GB33BUKB20201555555555'),
    creditorIban: fc.constantFrom('NL91ABNA0417164300', 'FR1420041010050500013M02606'),
    creditorName: text,
    currency: fc.constantFrom('EUR', 'JPY', 'BHD', 'CLF'),
    amountMinorUnits: fc.bigInt(1n, 999_999n),
    remittanceInformation: text,
  })
  .map((payment) => ({
    ...payment,
    amount: formatAmount(payment.amountMinorUnits, currencyDigits(payment.currency) as number),
  }))

t.test('what describes a payment authorizes it, after JSON too, and no payment that differs', async (t) => {
  const property = fc.property(payments, payments, (payment, other) => {
    const details: unknown = JSON.parse(JSON.stringify([describePayment(payment)]))
    const read = readAuthorizationDetails(details)
    const covers = (wanted: Payment) => isPaymentAuthorized(read, wanted, accept)
    const same =
      other.amountMinorUnits === payment.amountMinorUnits &&
      other.currency === payment.currency &&
      other.debtorIban === payment.debtorIban &&
      other.creditorIban === payment.creditorIban &&
      (payment.creditorName ?? other.creditorName) === other.creditorName &&
      (payment.remittanceInformation ?? other.remittanceInformation) === other.remittanceInformation
    return covers(payment) && covers(other) === same && !covers({ ...payment, amountMinorUnits: 1_000_000n })
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('an amount counts by value, in the digits of its currency', async (t) => {
  const cases: [currency: string, amount: string, minorUnits: bigint, authorized: boolean][] = [
    ['EUR', '12.5', 1250n, true],
    ['EUR', '12', 1200n, true],
    ['EUR', '12.500', 1250n, false],
    ['JPY', '12', 12n, true],
    ['JPY', '12.0', 12n, false],
    ['BHD', '1.25', 1250n, true],
    ['XXX', '12', 12n, false],
  ]
  for (const [currency, amount, amountMinorUnits, authorized] of cases) {
    const payment = {
      debtorIban: 'DE89370400440532013000',
      creditorIban: 'NL91ABNA0417164300',
      creditorName: undefined,
      currency,
      amount,
      amountMinorUnits,
      remittanceInformation: undefined,
    }
    t.equal(isPaymentAuthorized([describePayment(payment)], payment, accept), authorized, `${amount} ${currency}`)
  }
})

t.test('whatever stands in the claim, the answer is a decision and never an exception', async (t) => {
  const property = fc.property(fc.jsonValue(), payments, (claim, payment) => {
    const details = readAuthorizationDetails(claim)
    return details === undefined || !isPaymentAuthorized(details, payment, accept)
  })
  const member = fc.property(fc.string(), fc.jsonValue(), payments, (name, value, payment) => {
    const detail = describePayment(payment)
    const changed = Object.fromEntries([...Object.entries(detail), [name, value]]) as AuthorizationDetail
    const known = ['locations', 'actions', 'creditorName', 'remittanceInformationUnstructured', ...Object.keys(detail)]
    return known.includes(name) || !isPaymentAuthorized([changed], payment, accept)
  })
  t.doesNotThrow(() => fc.assert(property))
  t.doesNotThrow(() => fc.assert(member))
})
