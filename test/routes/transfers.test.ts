import { randomUUID } from 'node:crypto'
import t from 'tap'
import { balances, ibans, startTestApi, transferBody } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { call, tokens } = api

t.test('a transfer moves the money once and answers 201 with Location and the request', async (t) => {
  const before = await balances(api)
  const json = transferBody({ creditorName: 'Bob', remittanceInformationUnstructured: 'Rent May' })
  const answer = await call('POST', '/transfers', { token: tokens.transfer(), json })
  t.equal(answer.status, 201)
  t.equal(answer.headers.get('location'), `/transfers/${answer.body['transferId']}`)
  t.equal(answer.headers.get('cache-control'), 'no-store')
  t.match(answer.body, { status: 'booked', ...json })
  const after = await balances(api)
  t.equal(after[ibans.alice], (before[ibans.alice] as bigint) - 2500n)
  t.equal(after[ibans.bob], (before[ibans.bob] as bigint) + 2500n)
})

t.test(
  'the debtor reads the transfer; the creditor and others see 404, but the creditor sees the posting',
  async (t) => {
    const { body } = await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody() })
    const path = `/transfers/${body['transferId']}`
    t.strictSame((await call('GET', path, { token: tokens.read() })).body, body)
    t.equal((await call('GET', path, { token: tokens.read({ sub: 'bob' }) })).status, 404)
    const accounts = await call('GET', '/accounts', { token: tokens.read({ sub: 'bob' }) })
    const [account] = accounts.body['accounts'] as { resourceId: string }[]
    const transactions = await call('GET', `/accounts/${account?.resourceId}/transactions?limit=1`, {
      token: tokens.read({ sub: 'bob' }),
    })
    t.match(transactions.body, {
      transactions: [
        { transferId: body['transferId'], amount: { amount: '25.00' }, counterparty: { iban: ibans.alice } },
      ],
      nextCursor: String,
    })
  },
)

t.test('business refusals come after consumption: the token is used up and no money moves', async (t) => {
  const cases: [string, Record<string, unknown>, number, string][] = [
    ['unknown creditor', { creditorAccount: { iban: 'DE75512108001245126199' } }, 404, 'not-found'],
    [
      "someone else's account as debtor",
      { debtorAccount: { iban: ibans.bob }, creditorAccount: { iban: ibans.alice } },
      404,
      'not-found',
    ],
    ['same account', { creditorAccount: { iban: ibans.alice } }, 422, 'same-account'],
    ['other currency', { instructedAmount: { currency: 'USD', amount: '1.00' } }, 422, 'currency-mismatch'],
    ['creditor in another currency', { creditorAccount: { iban: ibans.yen } }, 422, 'currency-mismatch'],
    ['too much', { instructedAmount: { currency: 'EUR', amount: '999999.00' } }, 422, 'insufficient-funds'],
  ]
  for (const [name, changes, status, problem] of cases) {
    t.test(name, async (t) => {
      const before = await balances(api)
      const token = tokens.transfer()
      const answer = await call('POST', '/transfers', { token, json: transferBody(changes) })
      t.equal(answer.status, status)
      t.match(answer.body['type'], new RegExp(`/problems/${problem}$`))
      t.equal(answer.challenge, null)
      const replay = await call('POST', '/transfers', { token, json: transferBody() })
      t.equal(replay.status, 401)
      t.strictSame(await balances(api), before)
    })
  }
})

t.test('a refusal before consumption leaves the token usable', async (t) => {
  const token = tokens.transfer()
  const attempts: [Record<string, unknown> | string, Record<string, string>, number][] = [
    [transferBody({ instructedAmount: { currency: 'EUR', amount: '-1' } }), {}, 400],
    [transferBody(), { 'idempotency-key': 'a,b' }, 400],
    ['{', {}, 400],
    [transferBody(), { 'content-type': 'text/plain' }, 415],
    [`{"a":"${'x'.repeat(20_000)}"}`, {}, 413],
  ]
  for (const [json, headers, status] of attempts) {
    t.equal((await call('POST', '/transfers', { token, json, headers })).status, status)
  }
  t.equal((await call('POST', '/transfers?x=1', { token, json: transferBody() })).status, 400)
  t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 201)
})

t.test('reading does not consume a transfer token, and a spent one still reads', async (t) => {
  const token = tokens.transfer()
  t.equal((await call('GET', '/accounts', { token })).status, 200)
  t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 201)
  t.equal((await call('GET', '/accounts', { token })).status, 200)
  t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 401)
})

t.test('body faults name the field and what is expected, and echo nothing', async (t) => {
  const cases: [string, unknown, string][] = [
    ['no body', undefined, ''],
    ['an array', [], ''],
    ['an unknown member', transferBody({ 'x-secret': 1 }), ''],
    ['an unknown inner member', transferBody({ debtorAccount: { iban: ibans.alice, bban: '1' } }), '/debtorAccount'],
    ['no creditor', transferBody({ creditorAccount: undefined }), '/creditorAccount'],
    [
      'IBAN in lower case',
      transferBody({ creditorAccount: { iban: ibans.bob.toLowerCase() } }),
      '/creditorAccount/iban',
    ],
    [
      'IBAN with wrong check digits',
      transferBody({ creditorAccount: { iban: 'DE88370400440532013000' } }),
      '/creditorAccount/iban',
    ],
    ['IBAN as a number', transferBody({ creditorAccount: { iban: 1 } }), '/creditorAccount/iban'],
    [
      'a number as amount',
      transferBody({ instructedAmount: { currency: 'EUR', amount: 25 } }),
      '/instructedAmount/amount',
    ],
    [
      'true as amount',
      transferBody({ instructedAmount: { currency: 'EUR', amount: true } }),
      '/instructedAmount/amount',
    ],
    ...[
      '0',
      '0.00',
      '-1',
      '1e3',
      '0x10',
      '1.',
      '.5',
      '01',
      '1.234',
      '1,5',
      ' 1',
      '1 ',
      '+1',
      '',
      '9999999999999999',
      '١',
    ].map((amount): [string, unknown, string] => [
      `amount ${JSON.stringify(amount)}`,
      transferBody({ instructedAmount: { currency: 'EUR', amount } }),
      '/instructedAmount/amount',
    ]),
    [
      'decimals in yen',
      transferBody({ instructedAmount: { currency: 'JPY', amount: '1.0' } }),
      '/instructedAmount/amount',
    ],
    [
      'an unknown currency',
      transferBody({ instructedAmount: { currency: 'ZZZ', amount: '1' } }),
      '/instructedAmount/currency',
    ],
    [
      'a currency in lower case',
      transferBody({ instructedAmount: { currency: 'eur', amount: '1' } }),
      '/instructedAmount/currency',
    ],
    ['gold', transferBody({ instructedAmount: { currency: 'XAU', amount: '1' } }), '/instructedAmount/currency'],
    ['a long name', transferBody({ creditorName: 'x'.repeat(141) }), '/creditorName'],
    ['an empty name', transferBody({ creditorName: '' }), '/creditorName'],
    [
      'a control character',
      transferBody({ remittanceInformationUnstructured: 'a\u0000b' }),
      '/remittanceInformationUnstructured',
    ],
    ['null', transferBody({ creditorName: null }), '/creditorName'],
  ]
  const token = tokens.transfer()
  for (const [name, json, pointer] of cases) {
    t.test(name, async (t) => {
      const answer = await call('POST', '/transfers', { token, json, headers: { 'content-type': 'application/json' } })
      t.equal(answer.status, 400)
      t.match(answer.body, { errors: [{ pointer, expected: /./ }] })
      t.notMatch(JSON.stringify(answer.body), /x-secret|bban/)
    })
  }
  t.equal(
    (await call('POST', '/transfers', { token, json: transferBody() })).status,
    201,
    'none of them burnt the token',
  )
})

t.test('texts are counted in characters: 140 of any script pass', async (t) => {
  const json = transferBody({ creditorName: '💶'.repeat(140) })
  t.equal((await call('POST', '/transfers', { token: tokens.transfer(), json })).status, 201)
})

t.test('money is exact: yen have no decimals, and one cent is one cent', async (t) => {
  const before = await balances(api)
  const cent = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
  t.equal((await call('POST', '/transfers', { token: tokens.transfer(), json: cent })).status, 201)
  t.equal((await balances(api))[ibans.alice], (before[ibans.alice] as bigint) - 1n)
})

t.test('Idempotency-Key', async (t) => {
  t.test('a repeat returns the stored answer, with the spent token or a fresh one, which stays unspent', async (t) => {
    const headers = { 'idempotency-key': randomUUID() }
    const token = tokens.transfer()
    const before = await balances(api)
    const first = await call('POST', '/transfers', { token, json: transferBody(), headers })
    t.equal(first.status, 201)
    t.equal(first.headers.get('idempotency-replayed'), null)
    const again = await call('POST', '/transfers', { token, json: transferBody(), headers })
    t.equal(again.status, 201)
    t.equal(again.headers.get('idempotency-replayed'), 'true')
    t.equal(again.headers.get('location'), first.headers.get('location'))
    t.strictSame(again.body, first.body)
    const fresh = tokens.transfer()
    const withFresh = await call('POST', '/transfers', { token: fresh, json: transferBody(), headers })
    t.strictSame(withFresh.body, first.body)
    t.equal((await balances(api))[ibans.alice], (before[ibans.alice] as bigint) - 2500n, 'the money moved once')
    t.equal(
      (await call('POST', '/transfers', { token: fresh, json: transferBody() })).status,
      201,
      'the fresh token is unspent',
    )
  })

  t.test('a stored refusal comes back, byte for byte', async (t) => {
    const headers = { 'idempotency-key': `"${randomUUID()}"` }
    const json = transferBody({ instructedAmount: { currency: 'EUR', amount: '999999' } })
    const first = await call('POST', '/transfers', { token: tokens.transfer(), json, headers })
    const again = await call('POST', '/transfers', { token: tokens.transfer(), json, headers })
    t.equal(first.status, 422)
    t.equal(again.headers.get('idempotency-replayed'), 'true')
    t.strictSame(again.body, first.body)
  })

  t.test('quoted and bare are one key; equal amounts are one request', async (t) => {
    const key = randomUUID()
    const amount = (text: string) => transferBody({ instructedAmount: { currency: 'EUR', amount: text } })
    const first = await call('POST', '/transfers', {
      token: tokens.transfer(),
      json: amount('1.5'),
      headers: { 'idempotency-key': key },
    })
    const again = await call('POST', '/transfers', {
      token: tokens.transfer(),
      json: amount('1.50'),
      headers: { 'idempotency-key': `"${key}"` },
    })
    t.strictSame(again.body, first.body)
  })

  t.test('another body under the same key is 422 and burns nothing', async (t) => {
    const headers = { 'idempotency-key': randomUUID() }
    await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody(), headers })
    const before = await balances(api)
    const token = tokens.transfer()
    const json = transferBody({ remittanceInformationUnstructured: 'other' })
    const answer = await call('POST', '/transfers', { token, json, headers })
    t.equal(answer.status, 422)
    t.match(answer.body['type'], /idempotency-key-reused$/)
    t.strictSame(await balances(api), before)
    t.equal((await call('POST', '/transfers', { token, json })).status, 201)
  })

  t.test('a key belongs to its subject', async (t) => {
    const headers = { 'idempotency-key': randomUUID() }
    const first = await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody(), headers })
    const json = transferBody({ debtorAccount: { iban: ibans.bob }, creditorAccount: { iban: ibans.alice } })
    const second = await call('POST', '/transfers', { token: tokens.transfer({ sub: 'bob' }), json, headers })
    t.equal(second.status, 201)
    t.not(second.body['transferId'], first.body['transferId'])
  })

  t.test('a spent token with a key that stores nothing is refused', async (t) => {
    const token = tokens.transfer()
    await call('POST', '/transfers', { token, json: transferBody() })
    const answer = await call('POST', '/transfers', {
      token,
      json: transferBody(),
      headers: { 'idempotency-key': randomUUID() },
    })
    t.equal(answer.status, 401)
    t.match(answer.body['type'], /token-already-used$/)
  })

  t.test('malformed keys are 400 and burn nothing', async (t) => {
    const token = tokens.transfer()
    for (const key of ['', '"', '""', 'a b', 'a"b', 'a,b', 'x'.repeat(256), '"a', 'ä']) {
      const answer = await call('POST', '/transfers', {
        token,
        json: transferBody(),
        headers: { 'idempotency-key': key },
      })
      t.equal(answer.status, 400, JSON.stringify(key))
      t.match(answer.body['type'], /invalid-idempotency-key$/)
    }
    t.equal((await call('POST', '/transfers', { token, json: transferBody() })).status, 201)
  })

  t.test('after 24 hours the key is forgotten', async (t) => {
    const headers = { 'idempotency-key': randomUUID() }
    const first = await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody(), headers })
    api.clock.advance(86_400_000)
    const later = await call('POST', '/transfers', { token: tokens.transfer(), json: transferBody(), headers })
    t.equal(later.status, 201)
    t.not(later.body['transferId'], first.body['transferId'])
  })
})
