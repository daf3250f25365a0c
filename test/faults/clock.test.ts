import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { pruneAll } from '#src/ledger/pruning.js'
import { auditBank } from '../helpers/bank-audit.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const hourMs = 3_600_000
const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const used: Expected = [401, 'token-already-used']

/** Two replicas on one ledger. The clock of the second one can be stepped; the first one's is right. */
async function startReplicas(t: Test) {
  const nowMs = Date.now()
  const right = await startTestApi(t, { issuer, clock: new ManualClock(nowMs) })
  const startOther = () => startTestApi(t, { issuer, clock: new ManualClock(nowMs), ledger: () => right.sqlite })
  return { right, stepped: await startOther(), startOther }
}

function post({ call }: TestApi, token: string, key?: string) {
  const json = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
  return call('POST', '/transfers', { token, json, headers: key === undefined ? {} : { 'idempotency-key': key } })
}

async function countTransfers(t: Test, { folder }: TestApi): Promise<number> {
  return (await auditBank(t, folder)).transfers.length
}

for (const [direction, stepMs, outOfTime] of [
  ['ahead', hourMs, [401, 'expired-token']],
  ['behind', -hourMs, [401, 'invalid-token']],
] as const) {
  t.test(`a replica whose clock steps an hour ${direction}, and back`, async (t) => {
    t.test('lets no token work twice', async (t) => {
      const { right, stepped, startOther } = await startReplicas(t)
      const token = right.tokens.transfer()
      t.equal((await post(right, token)).status, 201)
      stepped.clock.advance(stepMs)
      checkRefusal(t, await post(stepped, token), outOfTime, 'while the clock is wrong')
      await pruneAll(stepped.ledger, stepped.clock)
      stepped.clock.advance(-stepMs)
      for (const api of [stepped, right, await startOther()]) checkRefusal(t, await post(api, token), used)
      t.equal(await countTransfers(t, right), 1)
    })

    t.test('lets no token work twice that it spent while its clock was wrong', async (t) => {
      const { right, stepped, startOther } = await startReplicas(t)
      const early = right.tokens.transfer()
      stepped.clock.advance(stepMs)
      const token = stepped.tokens.transfer()
      t.equal((await post(stepped, token)).status, 201, 'a token of its own time')
      checkRefusal(t, await post(right, token), stepMs > 0 ? [401, 'invalid-token'] : [401, 'expired-token'])
      const again = await startOther()
      for (const api of [right, again]) {
        api.clock.advance(stepMs)
        checkRefusal(t, await post(api, token), used, 'once its time has come elsewhere')
        await pruneAll(api.ledger, api.clock)
        api.clock.advance(-stepMs)
      }
      stepped.clock.advance(-stepMs)
      t.equal((await post(stepped, early)).status, 201, 'what was not used works when the clock is right again')
      checkRefusal(t, await post(right, early), used)
      t.equal(await countTransfers(t, right), 2)
    })

    t.test('still answers for an Idempotency-Key, at every replica', async (t) => {
      const { right, stepped } = await startReplicas(t)
      const [key, steppedKey] = [randomUUID(), randomUUID()]
      const first = await post(right, right.tokens.transfer(), key)
      t.equal(first.status, 201)
      stepped.clock.advance(stepMs)
      const second = await post(stepped, stepped.tokens.transfer(), steppedKey)
      t.equal(second.status, 201)
      await pruneAll(stepped.ledger, stepped.clock)
      for (const api of [stepped, right]) {
        for (const [name, original] of [
          [key, first],
          [steppedKey, second],
        ] as const) {
          const answer = await post(api, api.tokens.transfer(), name)
          t.equal(answer.headers.get('idempotency-replayed'), 'true')
          t.strictSame([answer.status, answer.body], [201, original.body])
        }
      }
      stepped.clock.advance(-stepMs)
      t.strictSame((await post(stepped, stepped.tokens.transfer(), steppedKey)).body, second.body)
      t.equal(await countTransfers(t, right), 2)
    })
  })
}

t.test('a single replica whose clock steps to and fro lets no token work twice', async (t) => {
  const api = await startTestApi(t, { issuer })
  const token = api.tokens.transfer()
  t.equal((await post(api, token)).status, 201)
  for (const stepMs of [hourMs, -hourMs, -hourMs, hourMs, 60_000, -60_000]) {
    api.clock.advance(stepMs)
    await pruneAll(api.ledger, api.clock)
    t.equal((await post(api, token)).status, 401)
  }
  t.equal(await countTransfers(t, api), 1)
})
