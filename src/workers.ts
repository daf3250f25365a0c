import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import type { Config } from './config.js'

const restartDelayMs = 1000

/** What a primary sends to a worker that is to close. */
export const closeMessage = 'close'

/**
 * Forks the workers, replaces one that dies after a second, and answers on the admin port for all of them. Resolves, once
 * every worker listens, to the function that closes them. Workers are told by message, not by signal, because a terminal or
 * a service manager signals the whole group.
 */
export async function startWorkers(config: Config): Promise<() => Promise<void>> {
  let closing = false
  cluster.on('exit', () => {
    if (!closing) setTimeout(() => closing || cluster.fork(), restartDelayMs)
  })
  const first = Array.from({ length: config.WORKERS }, () => cluster.fork())
  const admin = await listenForAll(config)
  await Promise.all(first.map((worker) => once(worker, 'listening')))

  return async () => {
    closing = true
    admin?.close()
    const running = Object.values(cluster.workers ?? {}).filter((worker): worker is Worker => worker !== undefined)
    await Promise.all(
      running.map((worker) => {
        worker.send(closeMessage)
        return once(worker, 'exit')
      }),
    )
  }
}

async function listenForAll({ ADMIN_PORT, WORKERS }: Config) {
  if (ADMIN_PORT === undefined) return undefined
  const { AggregatorRegistry } = await import('prom-client')
  const { listenForAdmin } = await import('./plugins/operations.js')
  const registry = new AggregatorRegistry()
  return listenForAdmin(ADMIN_PORT, {
    metrics: () => registry.clusterMetrics(),
    health: async () => ({ workers: { configured: WORKERS, running: Object.keys(cluster.workers ?? {}).length } }),
  })
}
