import t from 'tap'
import { ProofReplayStore } from '#src/replay/proof-replay-store.js'
import { proofReplayKey, replayKey } from '#src/replay/replay-store.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { claim } from './claim.js'

function setUp(maxEntries: number) {
  const clock = new ManualClock(1_000_000)
  const store = new ProofReplayStore({ maxEntries, clock })
  const consume = (key: string, holder?: string, livesMs = 100_000) =>
    store.consume({ ...claim(key, clock.nowMs() + livesMs), ...(holder === undefined ? {} : { holder }) })
  return { clock, store, consume }
}

t.test('a key is consumed once, whatever expiry the next attempt has', async (t) => {
  const { store, consume } = setUp(100)
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => consume('a', 'one')))
  t.equal(outcomes.filter((outcome) => outcome === 'consumed').length, 1)
  t.equal(outcomes.filter((outcome) => outcome === 'replayed').length, 49)
  t.equal(await consume('a', 'one', 30_000), 'replayed')
  t.equal(await consume('b'), 'consumed', 'a holder need not be named')
  t.equal(store.size, 2)
  t.equal(store.retention, 'process')
  t.equal(store.isReachable, true)
})

t.test('a key is remembered until it expires, and for up to ten seconds more', async (t) => {
  const { clock, store, consume } = setUp(100)
  await consume('a', 'one', 5000)
  await consume('b', 'one', 50_000)
  clock.advance(4999)
  t.equal(await consume('a', 'one'), 'replayed')
  clock.advance(10_001)
  t.equal(await consume('a', 'one'), 'consumed')
  t.equal(await consume('b', 'one'), 'replayed')
  t.equal(store.size, 2)
})

t.test('a holder may take a share of the room that is left, and leaves some to the next', async (t) => {
  const { clock, store, consume } = setUp(900)
  const fill = async (holder: string): Promise<number> => {
    for (let taken = 0; ; taken += 1) if ((await consume(`${holder} ${taken}`, holder)) === 'full') return taken
  }
  t.equal(await fill('one'), 180, 'one alone gets a fifth')
  t.equal(await consume('x', 'other'), 'consumed')
  const taken = []
  for (let n = 0; n < 10; n += 1) taken.push(await fill(`greedy ${n}`))
  t.ok((taken.at(-1) ?? 0) >= 5, 'after ten greedy ones as well')
  t.ok(store.size < 900)
  t.equal(await consume('one 0', 'one'), 'replayed', 'and nothing was forgotten for it')
  clock.advance(120_000)
  t.equal(await fill('one'), 180, 'all is room again when they expire')
})

t.test('a store for one entry is full with one', async (t) => {
  const { consume } = setUp(1)
  t.equal(await consume('a', 'one'), 'consumed')
  t.equal(await consume('b', 'other'), 'full')
})

t.test('a claim that is given back leaves room, once', async (t) => {
  const { clock, store, consume } = setUp(100)
  const given = { ...claim('a', clock.nowMs() + 1000), holder: 'one' }
  await store.consume(given)
  for (let n = 0; n < 2; n += 1) {
    await store.release(given)
    t.equal(store.size, 0)
  }
  await store.release(claim('b', clock.nowMs() + 1000))
  await store.release(claim('b', clock.nowMs() + 99_000))
  t.equal(store.size, 0)
  t.equal(await consume('a', 'one'), 'consumed')
})

t.test('the key of a proof is that of no token', async (t) => {
  t.match(proofReplayKey('thumbprint', 'jti'), /^dpop:/)
  t.match(replayKey('dpop:', 'x'), /^\d/)
})
