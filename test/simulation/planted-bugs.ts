import type { Clock } from '#src/core/clock.js'
import {
  type BookingOutcome,
  type Ledger,
  LedgerUnavailable,
  OutcomeUnknown,
  type TransferOrder,
} from '#src/ledger/ledger.js'
import { ReplayRings, type ReplayRingsOptions } from '#src/replay/replay-rings.js'
import type { Claim, ReplayOutcome, ReplayStore } from '#src/replay/replay-store.js'
import type { Configuration } from './apps.js'
import { ModelLedger } from './model-ledger.js'
import type { RemoteCalls } from './remote-calls.js'
import { type ConnectionOwner, RedisConnection, type SimulatedRedis } from './simulated-redis.js'
import { leewaySeconds } from './tokens.js'
import type { Attempt, World } from './world.js'

/** A bug that the simulation must find, as a change to the parts of a configuration in which it does harm. */
export interface PlantedBug {
  name: string
  configuration: Configuration
  /** The violation by which it is found: any other one is not its doing. */
  expected: RegExp
  /** What must have happened before. */
  after?: RegExp
  replayStore?(store: ReplayStore): ReplayStore
  makeRings?(rings: ReplayRingsOptions): ReplayStore
  claimClock?: Clock
  isCertainFailure?(error: unknown): boolean
  ledger?(ledger: Ledger): Ledger
  makeLedger?(calls: RemoteCalls): ModelLedger
  connect?(owner: ConnectionOwner, redis: SimulatedRedis, world: World): RedisConnection
}

const dayMs = 86_400_000
const movedTwice = /a token moved money twice/

/** Changes how a store claims. */
const withConsume = (store: ReplayStore, consume: ReplayStore['consume']): ReplayStore => ({
  retention: store.retention,
  isReachable: true,
  consume,
  release: (claim) => store.release(claim),
})

/** Changes how a ledger books and prunes. */
const withMethods = (ledger: Ledger, changes: Partial<Ledger>): Ledger =>
  Object.assign(Object.create(null), {
    book: (order: TransferOrder) => ledger.book(order),
    prune: (nowMs: number) => ledger.prune(nowMs),
    ...changes,
  })

/** Writes the idempotency record in a second transaction. */
class SplitLedger extends ModelLedger {
  override async book(order: TransferOrder): Promise<BookingOutcome> {
    const commit = (attempt: Attempt | undefined) => this.decide(order, attempt as Attempt, false)
    const outcome = await this.calls.submit({ name: 'booking', commit })
    if (outcome.kind !== 'decided' || outcome.repeated || order.idempotency === undefined) return outcome
    await this.calls.submit({ name: 'record', commit: () => this.remember(order, outcome.decision) })
    return outcome
  }
}

class BlindConnection extends RedisConnection {
  override eval(_script: string, keys: 1, key: string, value: string): Promise<unknown> {
    return super.eval("return redis.call('del', KEYS[1])", keys, key, value)
  }
}

/** Keeps its own claim where the shared ring knows of another, which may be given back. */
class RememberingRings extends ReplayRings {
  readonly #rings: ReplayRingsOptions

  constructor(rings: ReplayRingsOptions) {
    super(rings)
    this.#rings = rings
  }

  override async consume(claim: Claim): Promise<ReplayOutcome> {
    if ((await this.#rings.local.consume(claim)) === 'replayed') return 'replayed'
    return this.#rings.shared.consume(claim)
  }
}

export const plantedBugs: readonly PlantedBug[] = [
  {
    name: 'a token given back after an unknown outcome, in one process',
    configuration: 'memory',
    expected: movedTwice,
    isCertainFailure: () => true,
  },
  {
    name: 'a token given back after an unknown outcome, with Redis last',
    configuration: 'redis',
    expected: movedTwice,
    isCertainFailure: () => true,
  },
  {
    name: 'an unknown outcome reported as a certain failure',
    configuration: 'ledger',
    expected: /answered 503 ledger-unavailable, was (?:booked|declined) in truth/,
    ledger: (ledger) =>
      withMethods(ledger, {
        book: (order) =>
          ledger.book(order).catch((error) => {
            throw error instanceof OutcomeUnknown ? new LedgerUnavailable('certainly', { cause: error }) : error
          }),
      }),
  },
  {
    name: 'a time to live without leeway and margin',
    configuration: 'memory',
    expected: movedTwice,
    replayStore: (store) =>
      withConsume(store, (claim) => {
        return store.consume({ ...claim, expiresAtMs: claim.expiresAtMs - leewaySeconds * 1000 - 60_000 })
      }),
  },
  {
    name: 'spent tokens pruned when they expire',
    configuration: 'ledger',
    expected: /was used twice|201 , expected token-already-used/,
    ledger: (ledger) =>
      withMethods(ledger, {
        book: (order) => {
          const { token } = order
          return ledger.book({ ...order, token: { ...token, rememberUntilMs: token.rememberUntilMs - dayMs } })
        },
      }),
  },
  {
    name: 'pruning a day too early',
    configuration: 'ledger',
    expected: /expected the stored answer/,
    ledger: (ledger) => withMethods(ledger, { prune: (nowMs) => ledger.prune(nowMs + dayMs) }),
  },
  {
    name: 'an idempotency record outside the transaction',
    configuration: 'ledger',
    expected: /'s k\d decided twice within/,
    makeLedger: (calls) => new SplitLedger(calls),
  },
  {
    name: 'a claim that timed out, admitted where Redis is last',
    configuration: 'redis',
    expected: movedTwice,
    after: /SET of #\d+ misses its deadline/,
    replayStore: (store) =>
      withConsume(store, async (claim) => {
        const outcome = await store.consume(claim)
        return outcome === 'unreachable' ? 'consumed' : outcome
      }),
  },
  {
    name: 'a release that deletes the claim of another attempt',
    configuration: 'redis',
    expected: movedTwice,
    connect: (owner, redis, world) => new BlindConnection(owner, redis, world),
  },
  {
    name: 'a claim after expiry, when the body came late',
    configuration: 'memory',
    expected: movedTwice,
    after: /sends its body/,
    claimClock: { nowMs: () => 1 },
  },
  {
    name: 'rings that remember a replay seen at the shared ring',
    configuration: 'ledger',
    expected: /token-already-used, expected a decision now/,
    makeRings: (rings) => new RememberingRings(rings),
  },
]
