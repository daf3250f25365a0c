import { buildApp } from './app.js'
import type { Config } from './config.js'
import { systemClock } from './core/clock.js'
import { JwksKeySource } from './keys/key-source.js'
import type { Ledger } from './ledger/ledger.js'
import { startPruning } from './ledger/pruning.js'
import { LruReplayStore } from './replay/lru-replay-store.js'

/** After this long, connections that are still busy are cut, so that the process ends in time. */
const cutConnectionsMs = 8000
const sweepIntervalMs = 50

export interface ServeOptions {
  config: Config
  warnings: readonly string[]
  ledger: Ledger
  /** Whether this process answers on the admin port itself; a worker leaves that to its primary. */
  adminListener: boolean
}

/**
 * Starts one serving process. Resolves, once it listens, to the function that closes it: finishes what is under way, then
 * lets go of everything.
 */
export async function serve({ config, warnings, ledger, adminListener }: ServeOptions): Promise<() => Promise<void>> {
  const clock = systemClock
  const replayStore = new LruReplayStore({ maxEntries: config.REPLAY_CACHE_SIZE, clock, whenFull: 'forget' })
  let issuerDown = false
  const keySource = new JwksKeySource({
    issuer: config.ISSUER,
    jwksUri: config.JWKS_URI,
    algorithms: config.ALGORITHMS,
    clock,
    onRefresh: (fault) => {
      // An outage is told once when it begins and once when it ends, not every few seconds.
      const fails = fault !== undefined
      if (fails && !issuerDown) app.log.warn({ err: fault }, 'the keys of the issuer cannot be refreshed')
      if (!fails && issuerDown) app.log.info('the keys of the issuer are refreshed again')
      issuerDown = fails
    },
  })
  const app = await buildApp(config, { clock, keySource, ledger, replayStore })
  keySource.start()
  for (const warning of warnings) app.log.warn(warning)

  // Loaded only on demand: most processes have no admin port, and metrics cost memory and start-up time.
  const operations = config.ADMIN_PORT === undefined ? undefined : await import('./plugins/operations.js')
  if (operations !== undefined) {
    await app.register(operations.default, {
      gauges: {
        stepgate_replay_cache_entries: { help: 'Used tokens in this process.', read: () => replayStore.size },
        stepgate_keys_usable: {
          help: '1 while tokens can be verified.',
          read: () => Number(keySource.state !== 'none'),
        },
      },
    })
  }
  await app.listen({ host: config.HOST, port: config.PORT })
  const adminServer =
    operations === undefined || !adminListener
      ? undefined
      : await operations.listenForAdmin(config.ADMIN_PORT as number, {
          metrics: () => app.metrics.metrics(),
          health: async () => ({
            keys: keySource.state,
            ledger: (await ledger.isReachable()) ? 'reachable' : 'unreachable',
            replayCache: { entries: replayStore.size, maxEntries: config.REPLAY_CACHE_SIZE },
            uptimeSeconds: Math.round(process.uptime()),
          }),
        })
  const stopPruning = startPruning(ledger, clock, (error) => app.log.error({ err: error }, 'pruning failed'))

  return async () => {
    stopPruning()
    keySource.close()
    adminServer?.close()
    // A connection that was busy when closing began falls idle later, and would be kept alive.
    const sweep = setInterval(() => app.server.closeIdleConnections(), sweepIntervalMs)
    const cut = setTimeout(() => app.server.closeAllConnections(), cutConnectionsMs)
    await app.close()
    clearInterval(sweep)
    clearTimeout(cut)
    await ledger.close()
  }
}
