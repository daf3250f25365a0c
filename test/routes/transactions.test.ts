import t from 'tap'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { type Answer, ibans, startTestApi, transferBody } from '../helpers/test-api.js'

interface Transaction {
  transferId: string
  bookedAt: string
  counterparty: { iban: string }
  amount: { currency: string; amount: string }
  remittanceInformationUnstructured?: string
}

const { call, clock, tokens } = await startTestApi(t)
const invalid: Expected = [400, 'invalid-input']
const alice = tokens.read()
const bob = tokens.read({ sub: 'bob' })

async function accountIdOf(token: string, iban: string): Promise<string> {
  const { body } = await call('GET', '/accounts', { token })
  const accounts = body['accounts'] as { resourceId: string; iban: string }[]
  return accounts.find((account) => account.iban === iban)?.resourceId as string
}

function transactionsOf({ body }: Answer): Transaction[] {
  return body['transactions'] as Transaction[]
}

async function transferAmount(amount: string, changes: Record<string, unknown> = {}): Promise<string> {
  const json = transferBody({ instructedAmount: { currency: 'EUR', amount }, ...changes })
  const answer = await call('POST', '/transfers', { token: tokens.transfer(), json })
  t.equal(answer.status, 201)
  return String(answer.body['transferId'])
}

const accountId = await accountIdOf(alice, ibans.alice)
const path = `/accounts/${accountId}/transactions`

t.test('a page of transactions is newest first and says how to go on', async (t) => {
  const ids: string[] = []
  for (let cents = 1; cents <= 7; cents += 1) {
    ids.unshift(await transferAmount(`0.0${cents}`, { remittanceInformationUnstructured: `number ${cents}` }))
    clock.advance(10)
  }
  const all = transactionsOf(await call('GET', path, { token: alice })).slice(0, 7)
  t.strictSame(
    all.map(({ transferId }) => transferId),
    ids,
  )
  t.match(all[0], {
    counterparty: { iban: ibans.bob },
    amount: { currency: 'EUR', amount: '-0.07' },
    remittanceInformationUnstructured: 'number 7',
  })
  for (const [index, { bookedAt }] of all.entries()) {
    if (index > 0) t.ok(bookedAt < (all[index - 1] as Transaction).bookedAt, 'older')
  }

  for (const limit of [1, 2, 3, 7, 100]) {
    const seen: Transaction[] = []
    let cursor: unknown = ''
    for (let pages = 0; cursor !== undefined && pages < 10; pages += 1) {
      const answer = await call('GET', `${path}?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`, {
        token: alice,
      })
      t.equal(answer.status, 200)
      const page = transactionsOf(answer)
      t.ok(page.length >= 1 && page.length <= limit, `limit ${limit}: a page of ${page.length}`)
      seen.push(...page)
      cursor = answer.body['nextCursor']
    }
    t.strictSame(
      seen.map(({ transferId }) => transferId).slice(0, 7),
      ids,
      `limit ${limit}: nothing twice, nothing lost`,
    )
    t.equal(cursor, undefined, 'the last page says so')
  }
})

t.test('a page that was begun does not shift when new transfers come', async (t) => {
  const first = await call('GET', `${path}?limit=2`, { token: alice })
  const next = `${path}?limit=2&cursor=${first.body['nextCursor']}`
  const before = transactionsOf(await call('GET', next, { token: alice }))
  await transferAmount('0.01')
  t.strictSame(transactionsOf(await call('GET', next, { token: alice })), before)
})

t.test('fifty a page without a limit, and a cursor at the end is an empty page', async (t) => {
  const list = `/accounts/${await accountIdOf(bob, ibans.bob)}/transactions`
  const short = await call('GET', list, { token: bob })
  t.ok(transactionsOf(short).length < 50)
  t.equal(short.body['nextCursor'], undefined)
  await Promise.all(Array.from({ length: 50 }, () => transferAmount('0.01')))
  const long = await call('GET', list, { token: bob })
  t.equal(transactionsOf(long).length, 50)
  t.match(long.body['nextCursor'], /^[1-9]\d*$/)
  t.ok(
    transactionsOf(long).every(({ amount }) => amount.amount === '0.01'),
    'money that came in has no sign',
  )
  t.strictSame((await call('GET', `${list}?cursor=1`, { token: bob })).body, { transactions: [] })
})

t.test('a bad limit or cursor is 400, with a pointer to the parameter and no echo', async (t) => {
  const limits = [
    '0',
    '-1',
    '101',
    '1000',
    '1.5',
    '1e1',
    '0x1',
    '01',
    '+1',
    '%201',
    '1%20',
    '',
    'x',
    'null',
    'NaN',
    '%F0%9F%92%B6',
  ]
  const cursors = ['0', '-1', '1.5', '1e3', '01', '', 'x', '9'.repeat(16), 'null', "1'--", '%00', '1%00', 'undefined']
  for (const [name, values] of [
    ['limit', limits],
    ['cursor', cursors],
  ] as const) {
    for (const value of values) {
      const answer = await call('GET', `${path}?${name}=${value}`, { token: alice })
      checkRefusal(t, answer, invalid, `${name}=${value}`)
      const [fault, ...more] = answer.body['errors'] as { pointer: string; expected: string }[]
      t.strictSame([fault?.pointer, more], [`?${name}`, []])
    }
    const repeated = await call('GET', `${path}?${name}=5&${name}=5`, { token: alice })
    checkRefusal(t, repeated, invalid, `${name} twice`)
    t.match(repeated.body, { errors: [{ pointer: `?${name}` }] })
  }
  const both = await call('GET', `${path}?limit=x&cursor=x`, { token: alice })
  t.match(both.body, { errors: [{ pointer: '?limit' }, { pointer: '?cursor' }] })
})

t.test('an unknown parameter is 400, and its name is not echoed', async (t) => {
  for (const query of [
    'secret=1',
    'Limit=1',
    'limit[]=1',
    'limit%5B%5D=1',
    'offset=1',
    'limit=1&secret=2',
    '__proto__=1',
  ]) {
    const answer = await call('GET', `${path}?${query}`, { token: alice })
    checkRefusal(t, answer, invalid, query)
    t.match(answer.body, { errors: [{ pointer: '?' }] })
    t.notMatch(JSON.stringify(answer.body), /secret|Limit|\[\]|offset|__proto__/)
  }
  for (const other of ['/accounts?limit=1', `/accounts/${accountId}?limit=1`]) {
    checkRefusal(t, await call('GET', other, { token: alice }), invalid, other)
  }
})
