import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { replayKey } from '#src/replay/replay-store.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { balances, ibans, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { malleate, TestIssuer } from '../helpers/test-issuer.js'

const json = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
const used: Expected = [401, 'token-already-used']
const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

function post({ call }: Pick<TestApi, 'call'>, token: string) {
  return call('POST', '/transfers', { token, json })
}

t.test('a token spent before a restart is spent after it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const account = { name: 'Current', currency: 'EUR', balanceMinorUnits: 100n }
  const openings = [
    { ...account, subject: 'alice', iban: ibans.alice },
    { ...account, subject: 'bob', iban: ibans.bob },
  ]
  let token = ''
  await t.test('before', async (t) => {
    const sqlite = await SqliteLedger.open(folder)
    t.teardown(() => sqlite.close())
    await sqlite.openAccounts(issuer.url, openings)
    const api = await startTestApi(t, { issuer, ledger: () => sqlite })
    token = api.tokens.transfer()
    t.equal((await post(api, token)).status, 201)
  })
  await t.test('after', async (t) => {
    const sqlite = await SqliteLedger.open(folder)
    t.teardown(() => sqlite.close())
    t.equal(await sqlite.openAccounts(issuer.url, openings), 0, 'the accounts are still there')
    const api = await startTestApi(t, { issuer, ledger: () => sqlite })
    checkRefusal(t, await post(api, token), used)
    const [account] = await sqlite.accountsOf({ issuer: issuer.url, subject: 'alice' })
    t.equal(account?.balanceMinorUnits, 99n)
    t.equal((await post(api, api.tokens.transfer())).status, 201, 'a fresh token works')
  })
})

t.test('a token that the LRU has forgotten is remembered by the ledger', async (t) => {
  const api = await startTestApi(t, { issuer, environment: { REPLAY_CACHE_SIZE: '1' } })
  const spent = Array.from({ length: 5 }, () => api.tokens.transfer())
  for (const token of spent) t.equal((await post(api, token)).status, 201)
  for (const token of [...spent, ...spent]) checkRefusal(t, await post(api, token), used)
  t.equal((await balances(api))[ibans.bob], 20_005n)
})

t.test('a spent token stays spent through its leeway, and through a clock that steps back', async (t) => {
  const api = await startTestApi(t, { issuer })
  const { clock, ledger, tokens } = api
  /** A server with an empty LRU and the same clock, as after a restart. */
  const restarted = (t: Test) => startTestApi(t, { issuer, clock, ledger: () => ledger })
  const exp = clock.nowSeconds + 60
  const token = tokens.transfer({ exp })
  t.equal((await post(api, token)).status, 201)
  for (const atMs of [exp * 1000 - 1, exp * 1000, exp * 1000 + 1, exp * 1000 + 4999]) {
    clock.advance(atMs - clock.nowMs())
    checkRefusal(t, await post(api, token), used, `${atMs - exp * 1000} ms after exp`)
    checkRefusal(t, await post(await restarted(t), token), used, `${atMs - exp * 1000} ms after exp, restarted`)
  }
  clock.advance(1)
  checkRefusal(t, await post(api, token), [401, 'expired-token'])
  for (const laterMs of [120_000, 3_600_000, 86_000_000]) {
    clock.advance(laterMs)
    await ledger.prune(clock.nowMs())
    clock.advance(-laterMs - 10_000)
    checkRefusal(t, await post(await restarted(t), token), used, `back from ${laterMs} ms`)
    clock.advance(10_000)
  }
  const late = tokens.transfer({
    iat: clock.nowSeconds - 60,
    auth_time: clock.nowSeconds - 60,
    exp: clock.nowSeconds - 4,
  })
  t.equal((await post(api, late)).status, 201, 'first used within the leeway')
  checkRefusal(t, await post(api, late), used)
  checkRefusal(t, await post(await restarted(t), late), used)
})

t.test('another form of the signature, another algorithm or other claims make no new token', async (t) => {
  const api = await startTestApi(t, { issuer })
  const { tokens } = api
  const spent = tokens.transfer()
  t.equal((await post(api, spent)).status, 201)
  t.not(malleate(spent), spent)
  checkRefusal(t, await post(api, malleate(spent)), used, 'the other form of a spent one')
  t.equal(malleate(malleate(spent)), spent)

  const fresh = tokens.transfer()
  t.equal((await post(api, malleate(fresh))).status, 201, 'the other form means the same, so it works once')
  checkRefusal(t, await post(api, fresh), used, 'and the first form no more')

  const claims = tokens.claims({ scope: 'transfer:funds', acr: 'urn:stepgate:acr:mfa' })
  t.equal((await post(api, tokens.sign(claims))).status, 201)
  for (const key of Object.values(issuer.keys))
    checkRefusal(t, await post(api, tokens.sign(claims, {}, key)), used, key.alg)
  const changed = { ...claims, exp: (claims['exp'] as number) + 60, client_id: 'other', sub: 'bob', extra: true }
  checkRefusal(t, await post(api, tokens.sign(changed)), used, 'other claims, same jti')
  checkRefusal(t, await post(api, tokens.sign(claims, { typ: 'application/at+jwt', extra: 1 })), used, 'another header')
})

t.test('jti is compared byte for byte: near ones are different tokens, each used once', async (t) => {
  const api = await startTestApi(t, { issuer })
  const near = [
    'a',
    'A',
    'a ',
    ' a',
    'a\u0001',
    'a\u0001b',
    'a\u0001c',
    '1',
    '01',
    '1.0',
    '1:',
    '\u00e9',
    'e\u0301',
    'ﬁ',
    'fi',
  ]
  for (const jti of [...near, '__proto__', 'constructor', 'x'.repeat(256), 'x'.repeat(255), "'", '%', '_']) {
    t.equal((await post(api, api.tokens.transfer({ jti }))).status, 201, JSON.stringify(jti))
    checkRefusal(t, await post(api, api.tokens.transfer({ jti })), used, JSON.stringify(jti))
  }
})

t.test('the key is the pair of issuer and jti: ("a","bc") is not ("ab","c")', async (t) => {
  const api = await startTestApi(t, { issuer })
  t.not(replayKey('a', 'bc'), replayKey('ab', 'c'))
  t.not(replayKey('a', '1:b'), replayKey('a1', ':b'))
  const order = {
    instruction: {
      debtorIban: ibans.alice,
      creditorIban: ibans.bob,
      currency: 'EUR',
      amount: '0.01',
      amountMinorUnits: 1n,
    },
    owner: { issuer: api.issuer.url, subject: 'alice' },
    idempotency: undefined,
    requestId: '0b7f3b54-6a4e-4d39-9a53-8a9f2b0c1d2e',
    nowMs: 1,
  }
  const book = (issuer: string, jwtId: string) => {
    const instruction = { ...order.instruction, creditorName: undefined, remittanceInformation: undefined }
    return api.ledger.book({ ...order, instruction, token: { issuer, jwtId, rememberUntilMs: 2 } })
  }
  for (const [issuer, jwtId] of [
    ['a', 'bc'],
    ['ab', 'c'],
    ['abc', ''],
    ['', 'abc'],
  ] as const) {
    t.match(await book(issuer, jwtId), { kind: 'decided', repeated: false }, `${issuer}, ${jwtId}`)
    t.match(await book(issuer, jwtId), { kind: 'token-spent' }, `${issuer}, ${jwtId}, again`)
  }
})

t.test('the same jti of another issuer is another token', async (t) => {
  const api = await startTestApi(t, { issuer })
  const foreign = await startTestApi(t, { ledger: () => api.ledger, replayStore: api.replayStore })
  const jti = 'the-same'
  t.equal((await post(api, api.tokens.transfer({ jti }))).status, 201)
  checkRefusal(
    t,
    await post(foreign, foreign.tokens.transfer({ jti })),
    [404, 'not-found'],
    'its alice owns nothing here',
  )
  checkRefusal(t, await post(foreign, foreign.tokens.transfer({ jti })), used)
  t.equal((await balances(api))[ibans.bob], 20_001n)
})
