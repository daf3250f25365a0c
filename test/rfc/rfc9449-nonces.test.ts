import t from 'tap'
import { LedgerUnavailable } from '#src/ledger/ledger.js'
import { ProofMaker } from '../helpers/dpop.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { startTestApi, type TestApi } from '../helpers/test-api.js'
import { type Claims, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const environment = { DPOP_NONCE: 'on' }
const windowMs = 120_000
/** Begins with a window. */
const clock = new ManualClock(Math.ceil(Date.now() / windowMs) * windowMs)
const client = new ProofMaker(clock)

async function read({ call, tokens }: TestApi, changes: Claims = {}) {
  const token = tokens.read(client.binding)
  const headers = client.headers({ method: 'GET', path: '/accounts', token }, changes)
  const answer = await call('GET', '/accounts', { headers })
  return { ...answer, nonce: answer.headers.get('dpop-nonce') }
}

t.test('9449-9-1 (RFC 9449 §9): without a nonce that we made the answer is use_dpop_nonce, with one', async (t) => {
  const api = await startTestApi(t, { issuer, clock, environment })
  for (const nonce of [undefined, '', 'x', 1, null]) {
    const answer = await read(api, { nonce })
    checkRefusal(t, answer, [401, 'use-dpop-nonce'])
    t.equal(answer.challenges.length, 1)
    t.match(answer.challenge, /^DPoP error="use_dpop_nonce", algs="ES256 Ed25519 EdDSA PS256", resource_metadata=/)
    t.match(answer.nonce, /^[A-Za-z0-9_-]{43}$/)
  }
  const { nonce } = await read(api)
  const good = await read(api, { nonce })
  t.strictSame([good.status, good.nonce], [200, null])
  t.equal((await read(api, { nonce })).status, 200, 'the next request may use it as well')
  const bad = await read(api, { iat: 1 })
  checkRefusal(t, bad, [401, 'invalid-dpop-proof'])
  t.equal(bad.nonce, null, 'a bad proof is told so first')
})

t.test(
  '9449-8-3 (RFC 9449 §8): a nonce of the window before works and brings the next one, an older one does not',
  async (t) => {
    const api = await startTestApi(t, { issuer, clock, environment })
    const { nonce: first } = await read(api)
    clock.advance(windowMs - 1)
    t.strictSame(await read(api, { nonce: first }).then(({ status, nonce }) => [status, nonce]), [200, null])
    clock.advance(1)
    const renewed = await read(api, { nonce: first })
    t.equal(renewed.status, 200)
    t.not(renewed.nonce, first)
    t.equal((await read(api, { nonce: renewed.nonce })).nonce, null)
    clock.advance(windowMs)
    const old = await read(api, { nonce: first })
    checkRefusal(t, old, [401, 'use-dpop-nonce'])
    t.equal((await read(api, { nonce: old.nonce })).status, 200)
  },
)

t.test('9449-4.3-10 (RFC 9449 §4.3): servers on one ledger take each other’s nonces, and no others', async (t) => {
  const one = await startTestApi(t, { issuer, clock, environment })
  const other = await startTestApi(t, { issuer, clock, environment, ledger: () => one.sqlite })
  const stranger = await startTestApi(t, { issuer, clock, environment })
  const { nonce } = await read(one)
  t.equal((await read(other, { nonce })).status, 200)
  checkRefusal(t, await read(stranger, { nonce }), [401, 'use-dpop-nonce'])
})

t.test('9449-8-1 (RFC 9449 §8): nonces tell nothing of each other', async (t) => {
  const apis = await Promise.all(Array.from({ length: 3 }, () => startTestApi(t, { issuer, clock, environment })))
  const nonces: (string | null)[] = []
  for (let window = 0; window < 3; window += 1) {
    for (const api of apis) nonces.push((await read(api)).nonce)
    clock.advance(windowMs)
  }
  t.equal(new Set(nonces).size, 9, 'neither of one window, by another ledger, nor of the next window')
  for (const nonce of nonces) t.equal(Buffer.from(nonce as string, 'base64url').length, 32)
})

t.test('9449-8-2 (RFC 9449 §8): an answer has one DPoP-Nonce field, or none', async (t) => {
  const api = await startTestApi(t, { issuer, clock, environment })
  const token = api.tokens.read(client.binding)
  const count = async (nonce?: string) => {
    const { authorization, dpop } = client.headers({ method: 'GET', path: '/accounts', token }, { nonce })
    const request = rawRequest('GET', '/accounts', [`Authorization: ${authorization}`, `DPoP: ${dpop}`])
    const { fields, status } = await exchangeOne(api.port, request)
    return [status, fields.filter(([name]) => name === 'dpop-nonce').length]
  }
  const { nonce } = await read(api)
  t.strictSame(await count(), [401, 1])
  t.strictSame(await count(nonce as string), [200, 0])
  clock.advance(windowMs)
  t.strictSame(await count(nonce as string), [200, 1], 'the next one')
})

t.test('9449-11.3-1 (RFC 9449 §11.3): once nonces are asked for, no proof goes without', async (t) => {
  const api = await startTestApi(t, { issuer, clock, environment })
  checkRefusal(t, await read(api), [401, 'use-dpop-nonce'])
  const { nonce } = await read(api)
  t.equal((await read(api, { nonce })).status, 200)
  checkRefusal(t, await read(api), [401, 'use-dpop-nonce'], 'nor after one was used')
})

t.test('while the ledger is out of reach there is no nonce: 503, and again when it is back', async (t) => {
  let reachable = false
  const api = await startTestApi(t, {
    issuer,
    clock,
    environment,
    ledger: (ledger) =>
      Object.assign(Object.create(ledger), {
        accountsOf: ledger.accountsOf.bind(ledger),
        sharedSecret: async () => {
          if (!reachable) throw new LedgerUnavailable('away')
          return ledger.sharedSecret('dpop-nonce')
        },
      }),
  })
  for (let n = 0; n < 2; n += 1) checkRefusal(t, await read(api), [503, 'ledger-unavailable'])
  t.equal((await api.call('GET', '/accounts', { token: api.tokens.read() })).status, 200, 'bearer tokens need none')
  reachable = true
  const { nonce } = await read(api)
  reachable = false
  t.equal((await read(api, { nonce })).status, 200, 'asked once')
})

t.test('RFC 9449 §4.3 (10): a nonce that nobody asked for is ignored', async (t) => {
  const api = await startTestApi(t, { issuer, clock })
  t.strictSame(await read(api, { nonce: 'x' }).then(({ status, nonce }) => [status, nonce]), [200, null])
})
