import t from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { type Answer, balances, ibans, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'

interface Account {
  resourceId: string
  iban: string
  name: string
  currency: string
  balance: { currency: string; amount: string }
}

const api = await startTestApi(t)
const { call, clock, issuer, port, sqlite, tokens } = api
const notFound: Expected = [404, 'not-found']
const alice = tokens.read()
const bob = tokens.read({ sub: 'bob' })

async function accountsOf(token: string): Promise<Account[]> {
  const { body } = await call('GET', '/accounts', { token })
  return body['accounts'] as Account[]
}

async function accountOf(token: string, iban: string): Promise<Account> {
  return (await accountsOf(token)).find((account) => account.iban === iban) as Account
}

async function transferAmount(amount: string, changes: Record<string, unknown> = {}): Promise<string> {
  const json = transferBody({ instructedAmount: { currency: 'EUR', amount }, ...changes })
  const answer = await call('POST', '/transfers', { token: tokens.transfer(), json })
  t.equal(answer.status, 201)
  return String(answer.body['transferId'])
}

const current = await accountOf(alice, ibans.alice)
const path = `/accounts/${current.resourceId}/transactions`

t.test(
  'the list has the accounts of the subject, ordered by IBAN, with balances in the digits of the currency',
  async (t) => {
    const accounts = await accountsOf(alice)
    t.match(accounts, [
      { iban: ibans.aliceSavings, name: 'Savings', currency: 'EUR', balance: { currency: 'EUR', amount: '5000.00' } },
      { iban: ibans.alice, name: 'Current', currency: 'EUR', balance: { currency: 'EUR', amount: '1000.00' } },
      { iban: ibans.yen, name: 'Yen', currency: 'JPY', balance: { currency: 'JPY', amount: '30000' } },
    ])
    t.equal(new Set(accounts.map(({ resourceId }) => resourceId)).size, 3)
    t.strictSame(
      (await accountsOf(bob)).map(({ iban }) => iban),
      [ibans.bob],
    )
  },
)

t.test('one account reads as it does in the list', async (t) => {
  for (const account of await accountsOf(alice)) {
    const answer = await call('GET', `/accounts/${account.resourceId}`, { token: alice })
    t.strictSame([answer.status, answer.body], [200, account])
    t.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8')
    t.equal(answer.headers.get('cache-control'), 'no-store')
  }
})

t.test("OWASP API1: another's account, transactions and transfer look like none at all", async (t) => {
  const transferId = await transferAmount('1.00', { creditorAccount: { iban: ibans.aliceSavings } })
  const nobody = '0b7f3b54-6a4e-4d39-9a53-8a9f2b0c1d2e'
  const shape = ({ status, headers, body, challenge }: Answer) => {
    const { instance, ...rest } = body
    const names = [...headers.keys()]
    return { status, names, length: headers.get('content-length'), challenge, rest }
  }
  for (const [others, none] of [
    [`/accounts/${current.resourceId}`, `/accounts/${nobody}`],
    [path, `/accounts/${nobody}/transactions`],
    [`${path}?limit=1&cursor=1`, `/accounts/${nobody}/transactions?limit=1&cursor=1`],
    [`/transfers/${transferId}`, `/transfers/${nobody}`],
  ] as const) {
    const [theirs, nobodys] = [await call('GET', others, { token: bob }), await call('GET', none, { token: bob })]
    checkRefusal(t, theirs, notFound, others)
    t.strictSame(shape(theirs), shape(nobodys), others)
  }
  t.equal((await call('GET', `/transfers/${transferId}`, { token: alice })).status, 200, 'the owner sees it')
})

t.test('HEAD answers as GET does, without the body, and behind the same guards', async (t) => {
  const head = (target: string, token?: string) =>
    exchangeOne(port, rawRequest('HEAD', target, token === undefined ? [] : [`Authorization: Bearer ${token}`]))
  for (const target of ['/accounts', `/accounts/${current.resourceId}`, path]) {
    const [answer, get] = [await head(target, alice), await call('GET', target, { token: alice })]
    t.strictSame([answer.status, answer.text], [200, ''])
    t.equal(answer.headers.get('content-length'), get.headers.get('content-length'))
    t.equal((await head(target)).status, 401)
    t.equal((await head(target, tokens.read({ scope: 'x' }))).status, 403)
  }
  t.equal((await head(path, bob)).status, 404)
})

t.test('without the read scope every read is 403, also with the high-value scope', async (t) => {
  const metadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource"`
  for (const scope of ['transfer:funds', 'read', 'read:accounts:x', 'READ:ACCOUNTS', undefined]) {
    for (const target of ['/accounts', `/accounts/${current.resourceId}`, '/accounts/x', path, '/transfers/x']) {
      const answer = await call('GET', target, { token: tokens.transfer({ scope }) })
      checkRefusal(t, answer, [403, 'insufficient-scope'], `${scope} on ${target}`)
      t.ok(answer.challenge?.includes(`error="insufficient_scope", scope="read:accounts", ${metadata}`))
      t.notMatch(answer.challenge, /acr_values|max_age/, 'a read never asks for step-up')
    }
  }
})

t.test('the same sub at another issuer is another owner', async (t) => {
  const stranger = { issuer: 'https://other.example.com', subject: 'alice' }
  const page = { limit: 10, before: undefined }
  const transferId = await transferAmount('0.01')
  t.strictSame(await sqlite.accountsOf(stranger), [])
  t.equal(await sqlite.account(stranger, current.resourceId), undefined)
  t.equal(await sqlite.entriesOf(stranger, current.resourceId, page), undefined)
  t.equal(await sqlite.transfer(stranger, transferId), undefined)
  const owner = { issuer: issuer.url, subject: 'alice' }
  t.ok(await sqlite.account(owner, current.resourceId))
  t.ok(await sqlite.transfer(owner, transferId))

  const before = await balances(api)
  const outcome = await sqlite.book({
    owner: stranger,
    instruction: {
      debtorIban: ibans.alice,
      creditorIban: ibans.bob,
      creditorName: undefined,
      currency: 'EUR',
      amount: '1.00',
      amountMinorUnits: 100n,
      remittanceInformation: undefined,
    },
    token: { issuer: stranger.issuer, jwtId: 'x', rememberUntilMs: clock.nowMs() },
    idempotency: undefined,
    requestId: '0b7f3b54-6a4e-4d39-9a53-8a9f2b0c1d2e',
    nowMs: clock.nowMs(),
  })
  t.match(outcome, { kind: 'decided', decision: { kind: 'declined', reason: 'not-found' } })
  t.strictSame(await balances(api), before)
})
