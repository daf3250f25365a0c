import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { exchange, rawRequest } from '../helpers/raw-http.js'
import { type Answer, balances, ibans, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'

const parties = 50
const cent = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
const json = JSON.stringify(cent)
const api = await startTestApi(t)
const { call, issuer, port, tokens } = api

/** A second server on the same folder, with a connection and a replay store of its own. */
async function startTwin(t: Test): Promise<TestApi> {
  const sqlite = await SqliteLedger.open(api.folder)
  t.teardown(() => sqlite.close())
  return startTestApi(t, { issuer, ledger: () => sqlite })
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}

function post(token: string, key?: string, target: Pick<TestApi, 'call'> = api): Promise<Answer> {
  return target.call('POST', '/transfers', {
    token,
    json: cent,
    headers: key === undefined ? {} : { 'idempotency-key': key },
  })
}

/** How many answers there are of each status. */
function tally(answers: readonly { status: number }[]): Record<number, number> {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** Runs something and returns its result with how many cents left alice's account and how many came to bob's. */
async function moved<T>(work: () => Promise<T>): Promise<{ result: T; out: bigint; in: bigint }> {
  const before = await balances(api)
  const result = await work()
  const after = await balances(api)
  const change = (iban: string) => (after[iban] as bigint) - (before[iban] as bigint)
  return { result, out: -change(ibans.alice), in: change(ibans.bob) }
}

function rawTransfer(token: string): string {
  return rawRequest('POST', '/transfers', [`Authorization: Bearer ${token}`, 'Content-Type: application/json'], json)
}

t.test('fifty parallel uses of one token: one 201, 49 times 401, one movement', async (t) => {
  const token = tokens.transfer()
  const { result, ...money } = await moved(() => Promise.all(times(parties, () => post(token))))
  t.strictSame(tally(result), { 201: 1, 401: parties - 1 })
  t.strictSame(money, { out: 1n, in: 1n })
  for (const { status, body } of result) if (status === 401) t.match(body['type'], /token-already-used$/)
})

t.test('fifty pipelined uses on one connection: one 201, in front', async (t) => {
  const open = rawTransfer(tokens.transfer()).replace('Connection: close', 'Connection: keep-alive')
  const { result, ...money } = await moved(() => exchange(port, open.repeat(parties), { answers: parties }))
  t.strictSame(tally(result), { 201: 1, 401: parties - 1 })
  t.equal(result[0]?.status, 201)
  t.strictSame(money, { out: 1n, in: 1n })
})

t.test('fifty connections whose last bytes arrive together: one 201', async (t) => {
  const bytes = rawTransfer(tokens.transfer())
  let ready = 0
  let go = () => {}
  const everybodyReady = new Promise<void>((resolve) => {
    go = resolve
  })
  const beforeLastByte = () => {
    ready += 1
    if (ready === parties) go()
    return everybodyReady
  }
  const { result, ...money } = await moved(() =>
    Promise.all(times(parties, () => exchange(port, bytes, { beforeLastByte }))),
  )
  t.strictSame(tally(result.flat()), { 201: 1, 401: parties - 1 })
  t.strictSame(money, { out: 1n, in: 1n })
})

t.test('one token on two servers that share a folder: one 201', async (t) => {
  const twin = await startTwin(t)
  for (const withKey of [false, true]) {
    const token = tokens.transfer()
    const { result, ...money } = await moved(() =>
      Promise.all(times(parties, (index) => post(token, withKey ? randomUUID() : undefined, index % 2 ? twin : api))),
    )
    t.strictSame(tally(result), { 201: 1, 401: parties - 1 }, withKey ? 'each with a key of its own' : 'without keys')
    t.strictSame(money, { out: 1n, in: 1n })
  }
})

t.test('one token, with and without keys, in every order: one 201 for each meaning', async (t) => {
  const token = tokens.transfer()
  const { result, ...money } = await moved(() =>
    Promise.all(times(parties, (index) => post(token, index % 2 ? randomUUID() : undefined))),
  )
  t.strictSame(tally(result), { 201: 1, 401: parties - 1 })
  t.strictSame(money, { out: 1n, in: 1n })
})

t.test('one token and one key, fifty times: one movement, and everybody learns of it', async (t) => {
  const twin = await startTwin(t)
  const [token, key] = [tokens.transfer(), randomUUID()]
  const { result, ...money } = await moved(() =>
    Promise.all(times(parties, (index) => post(token, key, index % 2 ? twin : api))),
  )
  t.strictSame(tally(result), { 201: parties })
  t.equal(new Set(result.map(({ body }) => body['transferId'])).size, 1, 'one transfer')
  t.equal(result.filter(({ headers }) => headers.get('idempotency-replayed') === 'true').length, parties - 1)
  t.strictSame(money, { out: 1n, in: 1n })
})

t.test('fifty tokens and one key: one movement, one token spent, 49 left', async (t) => {
  const twin = await startTwin(t)
  const key = randomUUID()
  const many = times(parties, () => tokens.transfer())
  const first = await moved(() => Promise.all(many.map((token, index) => post(token, key, index % 2 ? twin : api))))
  t.strictSame(tally(first.result), { 201: parties })
  t.equal(new Set(first.result.map(({ body }) => body['transferId'])).size, 1, 'one transfer')
  t.strictSame([first.out, first.in], [1n, 1n])
  const second = await moved(() =>
    Promise.all(many.map((token, index) => post(token, undefined, index % 2 ? api : twin))),
  )
  t.strictSame(tally(second.result), { 201: parties - 1, 401: 1 })
  t.strictSame([second.out, second.in], [49n, 49n])
})

t.test('one key and fifty different transfers: one wins, the others are 422 and keep their tokens', async (t) => {
  const key = randomUUID()
  const many = times(parties, () => tokens.transfer())
  const { result, ...money } = await moved(() =>
    Promise.all(
      many.map((token, index) => {
        const json = { ...cent, remittanceInformationUnstructured: `number ${index}` }
        return call('POST', '/transfers', { token, json, headers: { 'idempotency-key': key } })
      }),
    ),
  )
  t.strictSame(tally(result), { 201: 1, 422: parties - 1 })
  t.strictSame(money, { out: 1n, in: 1n })
  t.strictSame(tally(await Promise.all(many.map((token) => post(token)))), { 201: parties - 1, 401: 1 })
})

t.test('ASVS-15.4.2 (OWASP ASVS 15.4.2): fifty transfers race for the last money and get that, no more', async (t) => {
  const twin = await startTwin(t)
  const before = await balances(api)
  const share = (before[ibans.alice] as bigint) / 10n
  const amount = `${share / 100n}.${String(share % 100n).padStart(2, '0')}`
  const body = transferBody({ instructedAmount: { currency: 'EUR', amount } })
  const answers = await Promise.all(
    times(parties, (index) =>
      (index % 2 ? twin : api).call('POST', '/transfers', { token: tokens.transfer(), json: body }),
    ),
  )
  t.strictSame(tally(answers), { 201: 10, 422: parties - 10 })
  const after = await balances(api)
  t.ok((after[ibans.alice] as bigint) >= 0n, 'never below zero')
  t.equal((after[ibans.bob] as bigint) - (before[ibans.bob] as bigint), share * 10n)
})

t.test('transfers there and back again lose and make no money', async (t) => {
  const total = async () => Object.values(await balances(api)).reduce((sum, balance) => sum + balance, 0n)
  const before = await total()
  const back = { ...cent, debtorAccount: { iban: ibans.bob }, creditorAccount: { iban: ibans.alice } }
  const answers = await Promise.all(
    times(parties, (index) => {
      const there = index % 2 === 0
      const token = tokens.transfer({ sub: there ? 'bob' : 'alice' })
      return call('POST', '/transfers', {
        token,
        json: there ? back : { ...cent, debtorAccount: { iban: ibans.aliceSavings } },
      })
    }),
  )
  t.strictSame(tally(answers), { 201: parties })
  t.equal(await total(), before)
  t.equal((await call('GET', '/livez')).status, 200)
})
