import { randomUUID } from 'node:crypto'
import t from 'tap'
import { checkRefusal } from '../helpers/refusals.js'
import { balances, startTestApi, transferBody } from '../helpers/test-api.js'

const limit = 5
const tooMany = [429, 'too-many-requests'] as const

t.test('the limit is per subject, says when to come back, and burns no token', async (t) => {
  const api = await startTestApi(t, { environment: { RATE_LIMIT: String(limit) } })
  const { call, tokens } = api
  const opening = await balances(api)
  for (let count = 1; count <= limit; count += 1) {
    t.equal((await call('GET', '/accounts', { token: tokens.read() })).status, 200, `request ${count}`)
  }
  const token = tokens.transfer()
  const refusals = [
    await call('GET', '/accounts', { token: tokens.read() }),
    await call('GET', '/accounts/x', { token: tokens.read() }),
    await call('POST', '/transfers', { token, json: transferBody() }),
    await call('POST', '/transfers', { token, json: '{' }),
    await call('POST', '/transfers', { token, json: transferBody(), headers: { 'idempotency-key': randomUUID() } }),
  ]
  for (const answer of refusals) {
    checkRefusal(t, answer, tooMany)
    const retryAfter = Number(answer.headers.get('retry-after'))
    t.ok(Number.isInteger(retryAfter) && retryAfter >= 1 && retryAfter <= 60, `Retry-After ${retryAfter}`)
    t.equal(answer.challenge, null)
    t.strictSame(
      [...answer.headers.keys()].filter((name) => name.startsWith('x-ratelimit')),
      [],
    )
  }
  t.strictSame(await balances(api), opening)

  t.test('another subject, and nobody at all, are not affected', async (t) => {
    t.equal((await call('GET', '/accounts', { token: tokens.read({ sub: 'bob' }) })).status, 200)
    for (const sub of ['Alice', 'alice ', '__proto__', 'constructor', 'toString']) {
      t.equal((await call('GET', '/accounts', { token: tokens.read({ sub }) })).status, 200, sub)
    }
    for (let count = 0; count < 2 * limit; count += 1) {
      checkRefusal(t, await call('GET', '/accounts'), [401, 'missing-token'])
      checkRefusal(t, await call('GET', '/accounts', { token: 'x' }), [401, 'invalid-token'])
      t.equal((await call('GET', '/livez')).status, 200)
    }
  })
})

t.test('refused attempts of others do not eat the limit of the subject they name', async (t) => {
  const { call, issuer, tokens } = await startTestApi(t, { environment: { RATE_LIMIT: String(limit) } })
  const forged = tokens.sign(tokens.claims(), {}, { ...issuer.keys.EdDSA, kid: issuer.keys.ES256.kid })
  for (let count = 0; count < 3 * limit; count += 1) {
    checkRefusal(t, await call('GET', '/accounts', { token: forged }), [401, 'invalid-token'])
  }
  t.equal((await call('GET', '/accounts', { token: tokens.read() })).status, 200)
})

t.test('a token that met the limit is spent in no ring: it works where there is no limit', async (t) => {
  const limited = await startTestApi(t, { environment: { RATE_LIMIT: '1' } })
  const { issuer, ledger, replayStore, tokens } = limited
  const unlimited = await startTestApi(t, { issuer, replayStore, ledger: () => ledger })
  const token = tokens.transfer()
  const json = transferBody()
  t.equal((await limited.call('GET', '/accounts', { token })).status, 200)
  checkRefusal(t, await limited.call('POST', '/transfers', { token, json }), tooMany)
  t.equal((await unlimited.call('POST', '/transfers', { token, json })).status, 201)
  checkRefusal(t, await unlimited.call('POST', '/transfers', { token, json }), [401, 'token-already-used'])
})

t.test('without a limit nobody is limited', async (t) => {
  const { call, tokens } = await startTestApi(t)
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => call('GET', '/accounts', { token: tokens.read() })),
  )
  t.ok(answers.every(({ status }) => status === 200))
})

t.test('requests that the policy refuses count as well', async (t) => {
  const { call, tokens } = await startTestApi(t, { environment: { RATE_LIMIT: String(limit) } })
  for (let count = 0; count < limit; count += 1) {
    const answer = await call('POST', '/transfers', { token: tokens.read(), json: transferBody() })
    checkRefusal(t, answer, [403, 'step-up-required'])
  }
  checkRefusal(t, await call('POST', '/transfers', { token: tokens.read(), json: transferBody() }), tooMany)
})
