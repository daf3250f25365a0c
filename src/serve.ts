import { buildApp } from './app.js'
import type { Config } from './config.js'
import { systemClock } from './core/clock.js'
import { JwksKeySource } from './keys/key-source.js'
import { startPruning } from './ledger/pruning.js'
import { openLedger, openRings, type Report } from './open-parts.js'

/** After this long, connections that are still busy are cut, so that the process ends in time. */
const cutConnectionsMs = 8000
const sweepIntervalMs = 50

export interface ServeOptions {
  config: Config
  warnings: readonly string[]
  /** Whether this process answers on the admin port itself; a worker leaves that to its primary. */
  adminListener: boolean
  /** How the parts that hold state are opened; whoever serves with others, such as tests that inject faults, wraps these. */
  open?: { ledger: typeof openLedger; rings: typeof openRings }
}

/**
 * Starts one serving process. Resolves, once it listens, to the function that closes it: finishes what is under way, then
 * lets go of everything.
 */
export async function serve({
  config,
  warnings,
  adminListener,
  open = { ledger: openLedger, rings: openRings },
}: ServeOptions): Promise<() => Promise<void>> {
  const clock = systemClock
  const untold: Parameters<Report>[] = []
  // Until there is a log, what parts report is kept.
  let report: Report = (...parameters) => void untold.push(parameters)
  const ledger = await open.ledger(config, (...parameters) => report(...parameters))
  const rings = await open.rings(config, clock, (...parameters) => report(...parameters))
  const { replayStore, proofReplayStore } = rings
  let issuerDown = false
  const keySource = new JwksKeySource({
    issuer: config.ISSUER,
    jwksUri: config.JWKS_URI,
    algorithms: config.ALGORITHMS,
    clock,
    maxStaleSeconds: config.JWKS_MAX_STALE,
    onWarning: (warning) => app.log.warn(warning),
    onRefresh: (fault) => {
      // An outage is told once when it begins and once when it ends, not every few seconds.
      const fails = fault !== undefined
      if (fails && !issuerDown) app.log.warn({ err: fault }, 'the keys of the issuer cannot be refreshed')
      if (!fails && issuerDown) app.log.info('the keys of the issuer are refreshed again')
      issuerDown = fails
    },
  })
  const app = await buildApp(config, { clock, keySource, ledger, replayStore, proofReplayStore })
  keySource.start()
  report = (level, message, fault) => app.log[level]({ err: fault }, message)
  for (const parameters of untold) report(...parameters)
  for (const warning of warnings) app.log.warn(warning)

  // Loaded only on demand: most processes have no admin port, and metrics cost memory and start-up time.
  const operations = config.ADMIN_PORT === undefined ? undefined : await import('./plugins/operations.js')
  if (operations !== undefined) {
    await app.register(operations.default, {
      gauges: {
        stepgate_replay_cache_entries: { help: 'Used tokens in this process.', read: rings.size, ofWorkers: 'sum' },
        stepgate_replay_rings_reachable: {
          help: '1 while every replay ring answers.',
          read: () => Number(replayStore.isReachable),
          ofWorkers: 'min',
        },
        stepgate_keys_usable: {
          help: '1 while tokens can be verified.',
          read: () => Number(keySource.state !== 'none'),
          ofWorkers: 'min',
        },
        stepgate_keys_age_seconds: {
          help: 'Seconds since the issuer last confirmed its keys or, before it has, since the start.',
          read: () => keySource.ageSeconds,
          ofWorkers: 'max',
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
            replayCache: { entries: rings.size(), maxEntries: config.REPLAY_CACHE_SIZE },
            replayRings: replayStore.isReachable ? 'reachable' : 'unreachable',
            uptimeSeconds: Math.round(process.uptime()),
          }),
        })
  const stopPruning = startPruning(ledger, clock, (error) => app.log.error({ err: error }, 'pruning failed'))

  return async () => {
    const pruningEnded = stopPruning()
    keySource.close()
    adminServer?.close()
    // A connection that was busy when closing began falls idle later, and would be kept alive.
    const sweep = setInterval(() => app.server.closeIdleConnections(), sweepIntervalMs)
    const cut = setTimeout(() => app.server.closeAllConnections(), cutConnectionsMs)
    await app.close()
    clearInterval(sweep)
    clearTimeout(cut)
    rings.close()
    await pruningEnded
    await ledger.close()
  }
}
