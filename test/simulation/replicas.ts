import { LedgerUnavailable } from '#src/ledger/ledger.js'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { RedisReplayStore } from '#src/replay/redis-replay-store.js'
import { ReplayRings, type ReplayRingsOptions } from '#src/replay/replay-rings.js'
import type { ReplayStore } from '#src/replay/replay-store.js'
import { type Configuration, openSlot, type Slot } from './apps.js'
import { ModelLedger } from './model-ledger.js'
import { ModelPayments } from './payments.js'
import type { PlantedBug } from './planted-bugs.js'
import { RemoteCalls } from './remote-calls.js'
import { RedisConnection, SimulatedRedis } from './simulated-redis.js'
import type { Attempt, World } from './world.js'

const names = ['A', 'B', 'C']
/** A process whose memory is the last ring refuses tokens by the time of its start, which belongs to its app. */
const restartGranularityMs = 10_000
const slots = new Map<string, Promise<Slot>>()

/** The app of this replica; kept from one schedule to the next. */
function slotOf(configuration: Configuration, name: string, startMs: number): Promise<Slot> {
  const key = configuration === 'memory' ? `memory ${startMs}` : `${configuration} ${name}`
  const slot = slots.get(key) ?? openSlot(configuration, startMs)
  slots.set(key, slot)
  return slot
}

/** The remote systems of one schedule, and which rings its replicas have. */
export class Deployment {
  readonly calls: RemoteCalls
  readonly redis: SimulatedRedis
  readonly ledger: ModelLedger
  readonly payments: ModelPayments
  readonly replicas: Replica[]
  /** Entries that each process remembers: few, so that some are forgotten, or refused. */
  readonly localEntries: number
  readonly rings: 'local' | 'shared' | 'both'

  readonly world: World
  readonly configuration: Configuration
  readonly planted: PlantedBug | undefined

  private constructor(world: World, configuration: Configuration, planted: PlantedBug | undefined) {
    this.world = world
    this.configuration = configuration
    this.planted = planted
    const { random } = world
    this.calls = new RemoteCalls(world)
    this.redis = new SimulatedRedis(world)
    this.ledger = planted?.makeLedger?.(this.calls) ?? new ModelLedger(this.calls)
    this.payments = new ModelPayments(this.calls)
    this.localEntries = 1 + random.below(6)
    const withRedis = configuration === 'redis' || (configuration === 'ledger' && random.chance(0.8))
    const withLocal = configuration !== 'redis' || random.chance(0.5)
    this.rings = withRedis ? (withLocal ? 'both' : 'shared') : 'local'
    const count = configuration === 'memory' ? 1 : 1 + random.below(names.length)
    this.replicas = names.slice(0, count).map((name) => new Replica(name, this))
  }

  static async start(world: World, configuration: Configuration, planted?: PlantedBug): Promise<Deployment> {
    const deployment = new Deployment(world, configuration, planted)
    for (const replica of deployment.replicas) await replica.start()
    return deployment
  }

  /** Whether nothing is on its way that could still be done or waits for an answer. */
  get isIdle(): boolean {
    return this.calls.isIdle && this.replicas.every(({ connection }) => connection?.isIdle !== false)
  }
}

const makeRings = (rings: ReplayRingsOptions): ReplayStore => new ReplayRings(rings)

/** One process after another, with a clock of its own. */
export class Replica {
  readonly name: string
  offsetMs = 0
  /** When the process that runs now was started, by its clock. */
  startedMs = 0
  /** The latest time that its clock ever showed. */
  latestMs = 0
  /** Requests under way. */
  readonly live = new Set<Attempt>()
  connection: RedisConnection | undefined
  #slot: Slot | undefined
  readonly #deployment: Deployment

  constructor(name: string, deployment: Deployment) {
    this.name = name
    this.#deployment = deployment
  }

  get slot(): Slot {
    return this.#slot as Slot
  }

  nowMs(): number {
    const nowMs = this.#deployment.world.nowMs + this.offsetMs
    this.latestMs = Math.max(this.latestMs, nowMs)
    return nowMs
  }

  async start(): Promise<void> {
    const { configuration, planted, ledger, payments } = this.#deployment
    this.startedMs = this.nowMs()
    this.#slot = await slotOf(configuration, this.name, this.startedMs)
    this.#slot.parts = {
      clock: this,
      claimClock: planted?.claimClock ?? this,
      replayStore: planted?.replayStore?.(this.#openStore()) ?? this.#openStore(),
      ledger: planted?.ledger?.(ledger) ?? ledger,
      payments,
      isCertainFailure: planted?.isCertainFailure ?? ((error) => error instanceof LedgerUnavailable),
    }
  }

  /** The process dies: it forgets, and what it was doing is never answered. */
  async restart(): Promise<void> {
    const { world, calls, configuration } = this.#deployment
    calls.abandon(this.live)
    for (const attempt of this.live) {
      attempt.state = 'lost'
      world.mayBeBurnt.add(attempt.token)
    }
    this.live.clear()
    this.connection?.abandon()
    if (configuration === 'memory') {
      // Where start times count, a process starts later than anything that the one before it saw.
      const startMs = Math.ceil((this.latestMs + 1) / restartGranularityMs) * restartGranularityMs
      world.nowMs += startMs - this.nowMs()
    }
    await this.start()
  }

  #openStore(): ReplayStore {
    const { world, configuration, redis, rings, localEntries, planted } = this.#deployment
    const whenFull = configuration === 'memory' ? 'refuse' : 'forget'
    const local = new LruReplayStore({ maxEntries: localEntries, clock: this, whenFull })
    if (rings === 'local') return local
    this.connection = planted?.connect?.(this, redis, world) ?? new RedisConnection(this, redis, world)
    const shared = new RedisReplayStore({ client: this.connection as never, clock: this })
    return rings === 'shared' ? shared : (planted?.makeRings ?? makeRings)({ local, shared })
  }
}
