import fc from 'fast-check'
import t from 'tap'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { type ReplayOutcome, replayKey } from '#src/replay/replay-store.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { claim } from './claim.js'

const setUp = (maxEntries: number, whenFull: 'forget' | 'refuse', nowMs = 1) => {
  const clock = new ManualClock(nowMs)
  return { clock, store: new LruReplayStore({ maxEntries, clock, whenFull }) }
}

t.test('a key is consumed once, however many ask at a time', async (t) => {
  const { store } = setUp(10, 'refuse')
  const outcomes = await Promise.all(Array.from({ length: 100 }, () => store.consume(claim('a', 1000))))
  t.equal(outcomes.filter((outcome) => outcome === 'consumed').length, 1)
  t.equal(outcomes.filter((outcome) => outcome === 'replayed').length, 99)
  t.equal(store.size, 1)
})

t.test('a key is remembered up to its expiry, and not in that millisecond any more', async (t) => {
  for (const nowMs of [0, 1, 1_700_000_000_000]) {
    const { clock, store } = setUp(10, 'refuse', nowMs)
    t.equal(await store.consume(claim('a', nowMs + 100)), 'consumed')
    clock.advance(99)
    t.equal(await store.consume(claim('a', nowMs + 200)), 'replayed')
    clock.advance(1)
    t.equal(await store.consume(claim('a', nowMs + 101)), 'consumed', 'a replay does not lengthen what is remembered')
    t.equal(await store.consume(claim('a', nowMs + 300)), 'replayed')
    clock.advance(1)
    t.equal(await store.consume(claim('a', nowMs + 300)), 'consumed')
  }
})

t.test('a clock that was set back makes no key usable again', async (t) => {
  const { clock, store } = setUp(10, 'refuse', 1000)
  await store.consume(claim('a', 1100))
  clock.advance(-999)
  t.equal(await store.consume(claim('a', 200)), 'replayed')
})

t.test('a released key can be consumed again; releasing an unknown one does nothing', async (t) => {
  const { store } = setUp(10, 'refuse')
  await store.consume(claim('a', 1000))
  await store.release(claim('a'))
  t.equal(store.size, 0)
  t.equal(await store.consume(claim('a', 1000)), 'consumed')
  await store.release(claim('b'))
  t.equal(await store.consume(claim('a', 1000)), 'replayed')
})

t.test('when full of live entries', async (t) => {
  t.test('forget drops the oldest', async (t) => {
    const { store } = setUp(2, 'forget')
    t.equal(store.retention, 'forgets')
    for (const key of ['a', 'b', 'c']) t.equal(await store.consume(claim(key, 1000)), 'consumed')
    t.equal(store.size, 2)
    t.equal(await store.consume(claim('b', 1000)), 'replayed')
    t.equal(await store.consume(claim('a', 1000)), 'consumed', 'the ledger behind it says that it was used')
  })

  t.test('refuse answers full, remembers nothing new and forgets nothing', async (t) => {
    const { clock, store } = setUp(2, 'refuse')
    t.equal(store.retention, 'process')
    await store.consume(claim('a', 1000))
    await store.consume(claim('b', 2000))
    t.equal(await store.consume(claim('c', 3000)), 'full')
    t.equal(await store.consume(claim('a', 3000)), 'replayed')
    t.equal(await store.consume(claim('b', 3000)), 'replayed')
    t.equal(await store.consume(claim('c', 3000)), 'full')
    clock.advance(998)
    t.equal(await store.consume(claim('c', 3000)), 'full', 'a millisecond before the first expires')
    clock.advance(100)
    t.equal(await store.consume(claim('c', 3000)), 'consumed')
    t.equal(await store.consume(claim('b', 3000)), 'replayed')
    t.equal(await store.consume(claim('a', 3000)), 'full', 'the expired one is gone, and its place is taken')
    t.equal(store.size, 2)
  })

  t.test('an expired key takes its own place, without a purge', async (t) => {
    const { clock, store } = setUp(1, 'refuse')
    await store.consume(claim('a', 10))
    t.equal(await store.consume(claim('b', 1000)), 'full')
    clock.advance(9)
    t.equal(await store.consume(claim('a', 1000)), 'consumed')
    t.equal(await store.consume(claim('a', 1000)), 'replayed')
  })

  t.test('refuse drops an expired entry as soon as its place is wanted', async (t) => {
    const { clock, store } = setUp(2, 'refuse')
    await store.consume(claim('a', 50))
    await store.consume(claim('b', 50))
    t.equal(await store.consume(claim('c', 1000)), 'full')
    clock.advance(48)
    t.equal(await store.consume(claim('c', 1000)), 'full')
    clock.advance(1)
    t.equal(await store.consume(claim('c', 1000)), 'consumed')
    t.equal(store.size, 2, 'the other waits until its place is wanted')
  })

  t.test('an expired entry behind many live ones is found within an attempt for every hundred', async (t) => {
    for (const position of [1, 99, 100, 199, 200, 999]) {
      const { clock, store } = setUp(1000, 'refuse')
      for (let n = 0; n < 1000; n += 1) await store.consume(claim(`key ${n}`, n === position ? 50 : 1000))
      clock.advance(49)
      let refused = 0
      while (refused < 100 && (await store.consume(claim('new', 1000))) === 'full') refused += 1
      t.ok(refused <= 10, `at ${position} after ${refused}`)
      let replayed = 0
      for (let n = 0; n < 1000; n += 1) {
        replayed += Number((await store.consume(claim(`key ${n}`, 1000))) === 'replayed')
      }
      t.equal(replayed, 999, 'and no live one is forgotten')
    }
  })

  t.test('a released key makes room', async (t) => {
    const { store } = setUp(1, 'refuse')
    await store.consume(claim('a', 1000))
    t.equal(await store.consume(claim('b', 1000)), 'full')
    await store.release(claim('a'))
    t.equal(await store.consume(claim('b', 1000)), 'consumed')
  })
})

t.test('a hundred thousand entries are remembered, each once, and make room one by one', async (t) => {
  const { clock, store } = setUp(100_000, 'refuse')
  let consumed = 0
  let replayed = 0
  for (let n = 0; n < 100_000; n += 1) consumed += Number((await store.consume(claim(`key ${n}`, 1000))) === 'consumed')
  for (let n = 0; n < 100_000; n += 100)
    replayed += Number((await store.consume(claim(`key ${n}`, 1000))) === 'replayed')
  t.equal(consumed, 100_000)
  t.equal(replayed, 1000)
  t.equal(await store.consume(claim('one more', 2000)), 'full')
  clock.advance(999)
  for (let n = 0; n < 100_000; n += 1) consumed += Number((await store.consume(claim(`new ${n}`, 2000))) === 'consumed')
  t.equal(consumed, 200_000)
  t.equal(await store.consume(claim('one more', 2000)), 'full')
  t.equal(store.size, 100_000)
})

t.test(
  'whatever the order of uses and steps of the clock, no key is forgotten while it lives, nor kept for longer',
  async (t) => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      isReleased: fc.boolean(),
      advanceMs: fc.nat(60),
      lifetimeMs: fc.integer({ min: 1, max: 200 }),
    })
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { clock, store } = setUp(4, 'refuse')
      const liveUntilMs = new Map<string, number>()
      for (const { key, isReleased, advanceMs, lifetimeMs } of steps) {
        clock.advance(advanceMs)
        for (const [other, untilMs] of liveUntilMs) {
          if (untilMs <= clock.nowMs()) liveUntilMs.delete(other)
        }
        const expected = liveUntilMs.has(key) ? 'replayed' : liveUntilMs.size === 4 ? 'full' : 'consumed'
        const outcome: ReplayOutcome = await store.consume(claim(key, clock.nowMs() + lifetimeMs))
        if (outcome !== expected) return false
        if (outcome === 'consumed') liveUntilMs.set(key, clock.nowMs() + lifetimeMs)
        if (isReleased) await store.release(claim(key))
        if (isReleased) liveUntilMs.delete(key)
      }
      return store.size <= 4
    })
    await t.resolves(fc.assert(property, { numRuns: 1000 }))
  },
)

t.test('a key is the pair of issuer and jti, and different pairs have different keys', async (t) => {
  t.not(replayKey('a', 'bc'), replayKey('ab', 'c'))
  t.not(replayKey('', 'abc'), replayKey('abc', ''))
  t.not(replayKey('1:a', ''), replayKey('', '1:a'))
  t.equal(replayKey('a', 'b'), replayKey('a', 'b'))
  const pair = fc.tuple(
    fc.string({ unit: fc.constantFrom('a', ':', '1', '2') }),
    fc.string({ unit: fc.constantFrom('a', ':', '1') }),
  )
  const unambiguous = fc.property(pair, pair, (one, other) => {
    return (replayKey(...one) === replayKey(...other)) === (one[0] === other[0] && one[1] === other[1])
  })
  t.doesNotThrow(() => fc.assert(unambiguous, { numRuns: 2000 }))
})
