import type { Config } from './config.js'
import type { Clock } from './core/clock.js'
import type { Ledger } from './ledger/ledger.js'
import { SqliteLedger } from './ledger/sqlite/sqlite-ledger.js'
import { LruReplayStore } from './replay/lru-replay-store.js'
import { maxProofs, ProofReplayStore } from './replay/proof-replay-store.js'
import { ReplayRings } from './replay/replay-rings.js'
import type { ReplayStore } from './replay/replay-store.js'

/** How parts tell the operator what goes wrong with them, and when it is over. */
export type Report = (level: 'warn' | 'info', message: string, fault?: unknown) => void

/** Opens the accounts of `ACCOUNTS_FILE`. */
export async function openAccounts(ledger: Ledger, config: Config): Promise<void> {
  await ledger.openAccounts(config.ISSUER, config.ACCOUNTS_FILE)
}

/**
 * Opens the ledger that the configuration names. It serves nothing before `beforeServing` is done. Throws when the operator
 * must act; resolves while PostgreSQL is merely out of reach. Its driver is loaded on demand, as most processes use only
 * SQLite's.
 */
export async function openLedger(config: Config, report: Report, beforeServing = openAccounts): Promise<Ledger> {
  if (config.DATABASE_URL === undefined) {
    const ledger = await SqliteLedger.open(config.DATA_DIR)
    await beforeServing(ledger, config)
    return ledger
  }
  const { PostgresLedger } = await import('./ledger/postgres/postgres-ledger.js')
  return PostgresLedger.open({
    url: config.DATABASE_URL,
    whenPrepared: (ledger) => beforeServing(ledger, config),
    onChange: (fault) =>
      fault === undefined
        ? report('info', 'PostgreSQL is prepared')
        : report('warn', 'PostgreSQL cannot be prepared yet', fault),
  })
}

/** The rings in front of the ledger. */
export interface Rings {
  replayStore: ReplayStore
  /** For DPoP proofs: a store of their own in this process, beside the shared ring. */
  proofReplayStore: ReplayStore
  /** How many used tokens this process remembers. */
  size: () => number
  close: () => void
}

/** Opens the rings that the configuration names: this process's memory and, with `REDIS_URL`, the one that replicas share. */
export async function openRings(config: Config, clock: Clock, report: Report): Promise<Rings> {
  const local = new LruReplayStore({ maxEntries: config.REPLAY_CACHE_SIZE, clock, whenFull: 'forget' })
  const localProofs = new ProofReplayStore({ maxEntries: maxProofs, clock })
  const size = () => local.size
  if (config.REDIS_URL === undefined)
    return { replayStore: local, proofReplayStore: localProofs, size, close: () => undefined }
  const [{ openRedisClient }, { RedisReplayStore }] = await Promise.all([
    import('./replay/redis-client.js'),
    import('./replay/redis-replay-store.js'),
  ])
  const client = await openRedisClient(config.REDIS_URL)
  const shared = new RedisReplayStore({
    client,
    clock,
    onChange: (fault) => {
      if (fault === undefined) report('info', 'Redis answers again')
      else
        report(
          'warn',
          'Redis is out of reach: the ledger alone makes tokens single-use, and DPoP proofs are remembered per process',
          fault,
        )
    },
    onWarning: (warning) => report('warn', `Redis: ${warning}`),
  })
  const close = () => {
    // The end of a connection that we end is no outage.
    client.removeAllListeners('close')
    client.disconnect()
  }
  return {
    replayStore: new ReplayRings({ local, shared }),
    proofReplayStore: new ReplayRings({ local: localProofs, shared, localStandsIn: true }),
    size,
    close,
  }
}
