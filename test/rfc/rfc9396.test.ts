import t from 'tap'
import { parseChallenge } from '../helpers/challenges.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { acrMfa, balances, ibans, publicUrl, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const api = await startTestApi(t, { issuer })
const notAuthorized: Expected = [403, 'transaction-not-authorized']

/** Authorization details of the transfer that `transferBody` asks for, with changes. */
function detail(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: 'payment_initiation',
    instructedAmount: { currency: 'EUR', amount: '25.00' },
    creditorAccount: { iban: ibans.bob },
    ...changes,
  }
}

/** Sends a transfer with a token that carries these details. */
function pay(authorization_details: unknown, json: unknown = transferBody(), target: TestApi = api) {
  return target.call('POST', '/transfers', { token: target.tokens.transfer({ authorization_details }), json })
}

t.test('9396-9.1-1 (RFC 9396 §9.1): a token whose claim names exactly this payment makes it', async (t) => {
  const texts = { creditorName: 'Bob', remittanceInformationUnstructured: 'Rent' }
  const whole = { ...texts, debtorAccount: { iban: ibans.alice } }
  const cases: [string, Record<string, unknown>, Record<string, unknown>?][] = [
    ['amount and creditor are enough', detail()],
    ['an amount is equal by value', detail({ instructedAmount: { currency: 'EUR', amount: '25' } })],
    ['the other way round too', detail(), { instructedAmount: { currency: 'EUR', amount: '25.0' } }],
    ['everything is there and equal', detail(whole), texts],
    ['the payment may say more than the token', detail(), texts],
    ['the API is named', detail({ locations: ['https://other.example', publicUrl] })],
    ['the action is named', detail({ actions: ['initiate', 'status'] })],
    ['members in another order', Object.fromEntries(Object.entries(detail(whole)).reverse()), texts],
  ]
  for (const [name, authorized, changes] of cases) {
    const before = await balances(api)
    t.equal((await pay([authorized], transferBody(changes))).status, 201, name)
    t.equal((before[ibans.alice] as bigint) - ((await balances(api))[ibans.alice] as bigint), 2500n, name)
  }
})

t.test('PSD2 RTS Art. 5: any other payment is refused, and nothing moves', async (t) => {
  const before = await balances(api)
  const amount = (value: unknown, currency: unknown = 'EUR') =>
    detail({ instructedAmount: { currency, amount: value } })
  const cases: [string, unknown[]][] = [
    ['none', []],
    ['a second detail', [detail(), detail()]],
    ['a second detail of another type', [detail(), { type: 'account_information' }]],
    ['no amount', [detail({ instructedAmount: undefined })]],
    ['no creditor', [detail({ creditorAccount: undefined })]],
    ['another creditor', [detail({ creditorAccount: { iban: ibans.aliceSavings } })]],
    ['a creditor that is a text', [detail({ creditorAccount: ibans.bob })]],
    ['another debtor', [detail({ debtorAccount: { iban: ibans.aliceSavings } })]],
    ['a debtor that is null', [detail({ debtorAccount: null })]],
    ['another name', [detail({ creditorName: 'Mallory' })]],
    ['a text that the payment lacks', [detail({ remittanceInformationUnstructured: 'Rent' })]],
    ['another currency', [amount('25.00', 'USD')]],
    ['a currency that does not exist', [amount('25.00', 'EUX')]],
    ['another action', [detail({ actions: ['status'] })]],
    ['no action', [detail({ actions: [] })]],
    ...[
      '25.01',
      '2500',
      '0',
      '-25.00',
      '+25.00',
      '25,00',
      '25.000',
      '025.00',
      ' 25.00',
      '2.5e1',
      '25.',
      '',
      25,
      2500,
      null,
    ].map((value): [string, unknown[]] => [`amount ${JSON.stringify(value)}`, [amount(value)]]),
  ]
  for (const [name, details] of cases) checkRefusal(t, await pay(details), notAuthorized, name)
  t.strictSame(await balances(api), before)
})

t.test('9396-2-1 (RFC 9396 §2): the type says what may stand in a detail, and anything else is refused', async (t) => {
  const before = await balances(api)
  const cases: [string, unknown[]][] = [
    ['another type', [{ ...detail(), type: 'account_information' }]],
    ['a type that begins so', [{ ...detail(), type: 'payment_initiation2' }]],
    ['RFC 9396 §2.2: a member that means nothing here', [detail({ datatypes: ['x'] })]],
    ['a limit that nobody knows', [detail({ maximumAmount: '1.00' })]],
    ['an unknown member of the amount', [detail({ instructedAmount: { currency: 'EUR', amount: '25.00', rate: 2 } })]],
    ['an unknown member of the creditor', [detail({ creditorAccount: { iban: ibans.bob, bic: 'X' } })]],
  ]
  for (const [name, details] of cases) checkRefusal(t, await pay(details), notAuthorized, name)
  // JSON has no special member names, so this one reaches the claim.
  const odd = JSON.parse(`[{"__proto__":{"maximumAmount":"1.00"},${JSON.stringify(detail()).slice(1)}]`)
  checkRefusal(t, await pay(odd), notAuthorized, 'an unknown member named __proto__')
  t.strictSame(await balances(api), before)
})

t.test('9396-12-1 (RFC 9396 §12): strings are compared as they are', async (t) => {
  const before = await balances(api)
  const cases: [string, unknown[]][] = [
    ['a creditor in lower case', [detail({ creditorAccount: { iban: ibans.bob.toLowerCase() } })]],
    ['a currency in lower case', [detail({ instructedAmount: { currency: 'eur', amount: '25.00' } })]],
    ['a type in upper case', [detail({ type: 'PAYMENT_INITIATION' })]],
    ['a name in another Unicode form', [detail({ creditorName: 'Zoe\u0308' })]],
    ['a name in lower case', [detail({ creditorName: 'zo\u00eb' })]],
    ['a name with a space behind', [detail({ creditorName: 'Zo\u00eb ' })]],
  ]
  const json = transferBody({ creditorName: 'Zo\u00eb' })
  for (const [name, details] of cases) checkRefusal(t, await pay(details, json), notAuthorized, name)
  t.strictSame(await balances(api), before)
  t.equal((await pay([detail({ creditorName: 'Zo\u00eb' })], json)).status, 201)
})

t.test('9396-12-2 (RFC 9396 §12): an authorization for other places is none here', async (t) => {
  const before = await balances(api)
  const cases: [string, unknown[]][] = [
    ['another place', [detail({ locations: ['https://other.example'] })]],
    ['a place that begins so', [detail({ locations: [`${publicUrl}.evil.example`] })]],
    ['no place', [detail({ locations: [] })]],
    ['places that are a text', [detail({ locations: publicUrl })]],
  ]
  for (const [name, details] of cases) checkRefusal(t, await pay(details), notAuthorized, name)
  t.strictSame(await balances(api), before)
})

t.test('9396-2-2 (RFC 9396 §2): details that are no array of typed objects make the token invalid', async (t) => {
  for (const authorization_details of [detail(), null, 'x', [null], [[detail()]], [{}], [detail(), { type: 7 }]]) {
    const label = JSON.stringify(authorization_details)
    checkRefusal(t, await pay(authorization_details), [401, 'invalid-token'], label)
    const token = api.tokens.read({ authorization_details })
    checkRefusal(t, await api.call('GET', '/accounts', { token }), [401, 'invalid-token'], label)
  }
})

t.test('the refusal says what to ask for, and with that the payment is made', async (t) => {
  const texts = { creditorName: 'Bob "the builder" Ærø', remittanceInformationUnstructured: 'Rent <b>' }
  for (const changes of [{}, texts, { instructedAmount: { currency: 'EUR', amount: '12.5' } }]) {
    const json = transferBody(changes)
    const answer = await pay([detail({ creditorAccount: { iban: ibans.aliceSavings } })], json)
    checkRefusal(t, answer, notAuthorized)
    t.strictSame(answer.body['authorization_details'], [{ type: 'payment_initiation', ...json }])
    const { parameters } = parseChallenge(answer.challenge ?? '')
    t.match(Object.fromEntries(parameters), {
      error: 'insufficient_scope',
      scope: 'transfer:funds',
      acr_values: acrMfa,
      max_age: '300',
    })
    t.equal((await pay(answer.body['authorization_details'], json)).status, 201)
  }
})

t.test('a refused payment uses up neither token nor key, and the token still makes its own', async (t) => {
  const token = api.tokens.transfer({ authorization_details: [detail()] })
  const headers = { 'idempotency-key': 'rent' }
  const dearer = transferBody({ instructedAmount: { currency: 'EUR', amount: '250.00' } })
  const before = await balances(api)
  checkRefusal(t, await api.call('POST', '/transfers', { token, headers, json: dearer }), notAuthorized)
  t.strictSame(await balances(api), before)
  const paid = await api.call('POST', '/transfers', { token, headers, json: transferBody() })
  t.equal(paid.status, 201)

  const other = api.tokens.transfer({ authorization_details: [detail({ creditorName: 'Mallory' })] })
  const stored = await api.call('POST', '/transfers', { token: other, headers, json: transferBody() })
  checkRefusal(t, stored, notAuthorized, 'nor is a stored answer given to a token for something else')
  const fresh = api.tokens.transfer({ authorization_details: [detail()] })
  const repeated = await api.call('POST', '/transfers', { token: fresh, headers, json: transferBody() })
  t.equal(repeated.headers.get('idempotency-replayed'), 'true')
  t.strictSame(repeated.body, paid.body)
})

t.test('details do not stand in for the scope, and do not keep anybody from reading', async (t) => {
  const details = { authorization_details: [detail()] }
  const reader = { token: api.tokens.read({ ...details, acr: acrMfa }), json: transferBody() }
  checkRefusal(t, await api.call('POST', '/transfers', reader), [403, 'step-up-required'])
  for (const authorization_details of [[detail()], [], [{ type: 'other', any: 1 }, detail()]]) {
    const token = api.tokens.transfer({ authorization_details })
    t.equal((await api.call('GET', '/accounts', { token })).status, 200)
  }
})

t.test('TRANSACTION_BINDING=require: a token for no transaction in particular moves nothing', async (t) => {
  const strict = await startTestApi(t, { issuer, environment: { TRANSACTION_BINDING: 'require' } })
  const before = await balances(strict)
  const token = strict.tokens.transfer()
  const answer = await strict.call('POST', '/transfers', { token, json: transferBody() })
  checkRefusal(t, answer, notAuthorized)
  t.strictSame(answer.body['authorization_details'], [{ type: 'payment_initiation', ...transferBody() }])
  t.strictSame(await balances(strict), before)
  t.equal((await pay(answer.body['authorization_details'], transferBody(), strict)).status, 201)
  checkRefusal(t, await pay([], transferBody(), strict), notAuthorized)
  t.equal((await strict.call('GET', '/accounts', { token })).status, 200, 'it reads')
  const metadata = await strict.call('GET', '/.well-known/oauth-protected-resource')
  t.strictSame(metadata.body['authorization_details_types_supported'], ['payment_initiation'])
})

t.test(
  'TRANSACTION_BINDING=off: a token that is bound to a transaction is refused rather than taken for any',
  async (t) => {
    const off = await startTestApi(t, { issuer, environment: { TRANSACTION_BINDING: 'off' } })
    for (const details of [[detail()], []]) {
      const answer = await pay(details, transferBody(), off)
      checkRefusal(t, answer, notAuthorized)
      t.notOk('authorization_details' in answer.body, 'and asking for details would lead here again')
    }
    t.equal((await off.call('POST', '/transfers', { token: off.tokens.transfer(), json: transferBody() })).status, 201)
    const metadata = await off.call('GET', '/.well-known/oauth-protected-resource')
    t.notOk('authorization_details_types_supported' in metadata.body)
  },
)
