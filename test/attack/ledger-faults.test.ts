import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import Database from 'libsql'
import t from 'tap'
import { type Ledger, LedgerUnavailable, OutcomeUnknown } from '#src/ledger/ledger.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { balances, ibans, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const unavailable: Expected = [503, 'ledger-unavailable']
const unknown: Expected = [503, 'transfer-outcome-unknown']
const used: Expected = [401, 'token-already-used']
const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

/** The ledger with some of its methods replaced. */
function replace(ledger: Ledger, changes: Partial<Ledger>): Ledger {
  return {
    accountsOf: (owner) => ledger.accountsOf(owner),
    account: (owner, accountId) => ledger.account(owner, accountId),
    entriesOf: (owner, accountId, page) => ledger.entriesOf(owner, accountId, page),
    transfer: (owner, transferId) => ledger.transfer(owner, transferId),
    book: (order) => ledger.book(order),
    openAccounts: (name, accounts) => ledger.openAccounts(name, accounts),
    prune: (nowMs) => ledger.prune(nowMs),
    sharedSecret: (name) => ledger.sharedSecret(name),
    isReachable: () => ledger.isReachable(),
    close: () => ledger.close(),
    ...changes,
  }
}

function post({ call }: TestApi, token: string, key?: string) {
  const headers: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key }
  return call('POST', '/transfers', { token, json: transferBody(), headers })
}

async function bobOf(api: TestApi): Promise<bigint> {
  return (await balances(api))[ibans.bob] as bigint
}

t.test('a ledger that is out of reach: 503 with Retry-After, and the token works afterwards', async (t) => {
  let down = true
  const api = await startTestApi(t, {
    issuer,
    ledger: (ledger) =>
      replace(ledger, {
        book: (order) =>
          down ? Promise.reject(new LedgerUnavailable('down', { cause: 'hidden' })) : ledger.book(order),
      }),
  })
  const before = await bobOf(api)
  const [token, other, key] = [api.tokens.transfer(), api.tokens.transfer(), randomUUID()]
  for (const answer of [await post(api, token), await post(api, token), await post(api, other, key)]) {
    checkRefusal(t, answer, unavailable)
    t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
    t.equal(answer.challenge, null)
  }
  const crowd = await Promise.all(Array.from({ length: 50 }, () => post(api, token)))
  t.ok(
    crowd.every(({ status }) => status === 503 || status === 401),
    'nobody got through',
  )
  t.equal(await bobOf(api), before)
  down = false
  t.equal((await post(api, token)).status, 201)
  checkRefusal(t, await post(api, token), used)
  const first = await post(api, other, key)
  t.strictSame([first.status, first.headers.get('idempotency-replayed')], [201, null], 'a 503 is never stored')
  t.equal(await bobOf(api), before + 5000n)
})

t.test('an unknown outcome that was a booking: the token stays spent, the key finds the truth', async (t) => {
  let lost = true
  const api = await startTestApi(t, {
    issuer,
    ledger: (ledger) =>
      replace(ledger, {
        book: async (order) => {
          const outcome = await ledger.book(order)
          if (lost) throw new OutcomeUnknown('the connection broke')
          return outcome
        },
      }),
  })
  const before = await bobOf(api)
  const [token, bare, key] = [api.tokens.transfer(), api.tokens.transfer(), randomUUID()]
  for (const answer of [await post(api, token, key), await post(api, bare)]) {
    checkRefusal(t, answer, unknown)
    t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
    t.equal(answer.challenge, null)
  }
  lost = false
  checkRefusal(t, await post(api, token), used, 'without the key')
  checkRefusal(t, await post(api, token, randomUUID()), used, 'with another key')
  checkRefusal(t, await post(api, bare), used, 'never had a key')
  for (const retry of [token, token, api.tokens.transfer()]) {
    const answer = await post(api, retry, key)
    t.strictSame([answer.status, answer.headers.get('idempotency-replayed')], [201, 'true'])
  }
  t.equal(await bobOf(api), before + 5000n, 'both were booked, once')
})

t.test('an unknown outcome that was none: the key books it now, once, and the bare token is refused', async (t) => {
  let broken = true
  const api = await startTestApi(t, {
    issuer,
    ledger: (ledger) =>
      replace(ledger, {
        book: (order) => (broken ? Promise.reject(new OutcomeUnknown('the connection broke')) : ledger.book(order)),
      }),
  })
  const before = await bobOf(api)
  const [token, bare, key] = [api.tokens.transfer(), api.tokens.transfer(), randomUUID()]
  checkRefusal(t, await post(api, token, key), unknown)
  checkRefusal(t, await post(api, bare), unknown)
  broken = false
  checkRefusal(t, await post(api, bare), used, 'what may have been used is not given back')
  const first = await post(api, token, key)
  t.strictSame([first.status, first.headers.get('idempotency-replayed')], [201, null])
  t.equal((await post(api, token, key)).headers.get('idempotency-replayed'), 'true')
  t.equal(await bobOf(api), before + 2500n)
})

t.test('an unexpected fault is a 500 that says nothing, and leaves the token to the ledger', async (t) => {
  const faults = [new Error('eyJ secret at ledger.js:1:1'), new TypeError('x'), 'text', { statusCode: 200 }]
  const odd = Object.assign(new Error('odd'), { statusCode: 302, code: 'SQLITE_X' })
  for (const fault of [...faults, odd, null, undefined]) {
    const api = await startTestApi(t, {
      issuer,
      ledger: (ledger) =>
        replace(ledger, { book: () => Promise.reject(fault), accountsOf: () => Promise.reject(fault) }),
    })
    const token = api.tokens.transfer()
    const answer = await post(api, token)
    checkRefusal(t, answer, [500, 'internal-error'], String(fault))
    t.equal(answer.challenge, null)
    checkRefusal(t, await post(api, token), [500, 'internal-error'], 'the ledger is asked again, since only it knows')
    checkRefusal(t, await api.call('GET', '/accounts', { token }), [500, 'internal-error'], 'a read')
  }
})

t.test('reads: 503 while the ledger is out of reach, and nothing else changes', async (t) => {
  const down = () => Promise.reject(new LedgerUnavailable('down'))
  const api = await startTestApi(t, {
    issuer,
    ledger: (ledger) =>
      replace(ledger, {
        accountsOf: down,
        account: down,
        entriesOf: down,
        transfer: down,
        isReachable: async () => false,
      }),
  })
  const token = api.tokens.read()
  for (const path of ['/accounts', '/accounts/x', '/accounts/x/transactions', '/transfers/x', '/readyz']) {
    const answer = await api.call('GET', path, { token })
    checkRefusal(t, answer, unavailable, path)
    t.match(answer.headers.get('retry-after'), /^[1-9]\d*$/)
  }
  t.equal((await api.call('GET', '/livez')).status, 200)
  checkRefusal(t, await api.call('GET', '/accounts'), [401, 'missing-token'])
})

for (const outcome of ['full', 'unreachable'] as const) {
  t.test(
    `a replay store that is ${outcome}: transfers go on, because the ledger decides, and tokens work once`,
    async (t) => {
      const replayStore = {
        retention: 'shared',
        isReachable: false,
        consume: async () => outcome,
        release: async () => undefined,
      } as const
      const api = await startTestApi(t, { issuer, replayStore })
      const before = await bobOf(api)
      const token = api.tokens.transfer()
      t.equal((await post(api, token, randomUUID())).status, 201)
      const after = await bobOf(api)
      t.equal(after - before, 2500n)
      checkRefusal(t, await post(api, token, randomUUID()), [401, 'token-already-used'])
      t.equal(await bobOf(api), after)
    },
  )
}

t.test(
  'a write lock held by another process: 503 within two seconds, reads go on, the token works after',
  async (t) => {
    const api = await startTestApi(t, { issuer })
    const holder = new Database(join(api.folder, 'ledger.sqlite'))
    t.teardown(() => holder.close())
    const token = api.tokens.transfer()
    await api.call('GET', '/accounts', { token })
    holder.exec('begin immediate')
    const startMs = performance.now()
    const waiting = post(api, token)
    t.equal((await api.call('GET', '/livez')).status, 200)
    t.equal((await api.call('GET', '/accounts', { token })).status, 200)
    t.ok(performance.now() - startMs < 1000, 'reads did not wait for the lock')
    checkRefusal(t, await waiting, unavailable)
    // Half a second more than the contract says, for the client and a busy machine.
    t.ok(performance.now() - startMs < 2500, 'refused within two seconds')
    holder.exec('rollback')
    t.equal((await post(api, token)).status, 201)
  },
)
