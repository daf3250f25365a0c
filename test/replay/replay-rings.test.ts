import t from 'tap'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { ReplayRings } from '#src/replay/replay-rings.js'
import type { Claim, ReplayOutcome, ReplayStore } from '#src/replay/replay-store.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { claim } from './claim.js'

/** A shared ring that answers as it is told and writes down what it is asked. */
class ScriptedStore implements ReplayStore {
  readonly retention = 'shared'
  isReachable = true
  outcome: ReplayOutcome = 'consumed'
  readonly asked: string[] = []
  beforeRelease: () => Promise<void> = async () => undefined

  async consume({ key }: Claim): Promise<ReplayOutcome> {
    this.asked.push(`consume ${key}`)
    return this.outcome
  }

  async release({ key }: Claim): Promise<void> {
    this.asked.push(`release ${key}`)
    await this.beforeRelease()
  }
}

function setUp(maxEntries = 10, whenFull: 'forget' | 'refuse' = 'forget') {
  const local = new LruReplayStore({ maxEntries, clock: new ManualClock(1), whenFull })
  const shared = new ScriptedStore()
  return { local, shared, rings: new ReplayRings({ local, shared }) }
}

t.test('a key is consumed when both rings say so', async (t) => {
  const { rings, shared } = setUp()
  t.equal(await rings.consume(claim('a')), 'consumed')
  t.strictSame(shared.asked, ['consume a'])
})

t.test('a replay that this process knows costs no round trip', async (t) => {
  const { rings, shared } = setUp()
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => rings.consume(claim('a'))))
  t.equal(outcomes.filter((outcome) => outcome === 'consumed').length, 1)
  t.equal(outcomes.filter((outcome) => outcome === 'replayed').length, 49)
  t.strictSame(shared.asked, ['consume a'])
})

t.test('a replay of what another replica holds is not remembered here, since it may be given back there', async (t) => {
  const { rings, shared } = setUp()
  shared.outcome = 'replayed'
  t.equal(await rings.consume(claim('a')), 'replayed')
  shared.outcome = 'consumed'
  t.equal(await rings.consume(claim('a')), 'consumed')
  t.strictSame(shared.asked, ['consume a', 'consume a'])
})

t.test('while the shared ring is out of reach, the local claim stands', async (t) => {
  const { local, rings, shared } = setUp()
  shared.outcome = 'unreachable'
  t.equal(await rings.consume(claim('a')), 'unreachable')
  t.equal(await local.consume(claim('a')), 'replayed')
  t.equal(await rings.consume(claim('a')), 'replayed')
})

t.test('a full local ring leaves the answer to the shared one', async (t) => {
  const { rings, shared } = setUp(1, 'refuse')
  t.equal(await rings.consume(claim('a')), 'consumed')
  t.equal(await rings.consume(claim('b')), 'consumed')
  shared.outcome = 'replayed'
  t.equal(await rings.consume(claim('b')), 'replayed')
  t.strictSame(shared.asked, ['consume a', 'consume b', 'consume b'])
})

t.test(
  'a claim is given back from the outside in: who gets past this process finds the key free behind it',
  async (t) => {
    const { local, rings, shared } = setUp()
    const own = claim('a')
    await rings.consume(own)
    shared.beforeRelease = async () => {
      t.equal(await local.consume(claim('a')), 'replayed', 'still claimed here while it is given back there')
    }
    await rings.release(own)
    t.strictSame(shared.asked, ['consume a', 'release a'])
    t.equal(await rings.consume(claim('a')), 'consumed')
  },
)

t.test('the rings are worth what the shared one is, and are reachable when both are', async (t) => {
  const { rings, shared } = setUp()
  t.equal(rings.retention, 'shared')
  t.equal(rings.isReachable, true)
  shared.isReachable = false
  t.equal(rings.isReachable, false)
})

t.test('where the local ring stands in, its answer counts while the shared one is out of reach', async (t) => {
  const { local, shared } = setUp(1, 'refuse')
  const rings = new ReplayRings({ local, shared, localStandsIn: true })
  shared.outcome = 'unreachable'
  t.equal(await rings.consume(claim('a')), 'consumed')
  t.equal(await rings.consume(claim('a')), 'replayed')
  t.equal(await rings.consume(claim('b')), 'full', 'full here and nobody beside')
  shared.outcome = 'consumed'
  t.equal(await rings.consume(claim('b')), 'full', 'nor does the shared one take what is too much here')
  t.strictSame(shared.asked, ['consume a'])
})

t.test('a local ring that stands in remembers what the shared one refused', async (t) => {
  const { local, shared } = setUp()
  const rings = new ReplayRings({ local, shared, localStandsIn: true })
  for (const outcome of ['replayed', 'unreachable'] as const) {
    shared.outcome = outcome
    t.equal(await rings.consume(claim('a')), 'replayed')
  }
})
