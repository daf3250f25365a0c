import cluster, { type Worker } from 'node:cluster'
import closeWithGrace from 'close-with-grace'
import { type Config, readConfig } from './config.js'
import { LedgerUnavailable } from './ledger/ledger.js'
import { UnusableDatabase } from './ledger/postgres/faults.js'
import { UnusableDataFolder } from './ledger/sqlite/connection.js'
import { openAccounts, openLedger, openRings, type Report } from './open-parts.js'
import { serve } from './serve.js'
import { readMessage, startWorkers, WorkerFault, type WorkerMessage } from './workers.js'

const graceMs = 9500
const signals = ['SIGINT', 'SIGTERM'] as const

async function main(): Promise<void> {
  for (const signal of signals) process.on(signal, leave)
  const read = readConfig(process.env)
  if ('faults' in read) return stop(read.faults)
  try {
    await start(read.config, read.warnings)
  } catch (error) {
    const faults = describeStartFault(error as Error, read.config)
    if (faults === undefined) throw error
    stop(faults)
  }
}

async function start(config: Config, warnings: readonly string[]): Promise<void> {
  if (cluster.worker !== undefined) return work(cluster.worker, config, warnings)
  if (config.WORKERS === 1) {
    closeGracefully(await serve({ config, warnings, adminListener: true }))
  } else {
    // The primary shows that the ledger is sound and opens the accounts, as soon as it can; each worker opens it for itself.
    let tellOpen: () => void
    const accountsOpen = new Promise<void>((resolve) => {
      tellOpen = resolve
    })
    const report: Report = (_, message, fault) => {
      process.stderr.write(`${message}${fault instanceof Error ? `: ${fault.message}` : ''}\n`)
    }
    const ledger = await openLedger(config, report, async (ledger) => {
      await openAccounts(ledger, config)
      tellOpen()
    })
    const workers = startWorkers(config, accountsOpen)
    closeGracefully(async () => {
      await workers.close()
      await ledger.close()
    })
    await workers.started.catch(async (error) => {
      await workers.close()
      throw error
    })
  }
}

/** One of several workers: it closes when its primary says so or is gone; signals to the whole group are the primary's. */
async function work(worker: Worker, config: Config, warnings: readonly string[]): Promise<void> {
  for (const signal of signals) process.on(signal, () => undefined).off(signal, leave)
  // Without this Node ends a worker at once when its primary is gone, whatever is under way.
  worker.exitedAfterDisconnect = true
  const told = new Promise<void>((resolve) => {
    process.on('message', (message) => readMessage(message)?.stepgate === 'close' && resolve())
    process.once('disconnect', resolve)
  })
  const open = {
    ledger: (config: Config, report: Report) => openLedger(config, report, awaitAccounts),
    rings: openRings,
  }
  const close = await serve({ config, warnings: worker.id === 1 ? warnings : [], adminListener: false, open })
  const grace = closeGracefully(close, signals)
  await told
  grace.close()
}

/** Resolves once the primary has opened the accounts. */
function awaitAccounts(): Promise<void> {
  return new Promise((resolve) => {
    process.on('message', (message) => readMessage(message)?.stepgate === 'accounts-open' && resolve())
    process.send?.({ stepgate: 'await-accounts' } satisfies WorkerMessage)
  })
}

/** What a signal does while nothing is served yet. */
function leave(): void {
  process.exit(0)
}

function closeGracefully(close: () => Promise<void>, skip: readonly (typeof signals)[number][] = []) {
  const grace = closeWithGrace({ delay: graceMs, logger: false, skip: [...skip] }, async ({ err }) => {
    if (err !== undefined) process.stderr.write(`${err.stack}\n`)
    await close()
  })
  // After the new listeners: without any, Node would let a signal go that has just arrived.
  for (const signal of signals) process.off(signal, leave)
  return grace
}

/** Ends the process with its faults, one line each as the contract says; a worker leaves saying so to its primary. */
function stop(faults: readonly string[]): void {
  if (cluster.isWorker) {
    process.send?.({ stepgate: 'faults', faults } satisfies WorkerMessage, undefined, undefined, () => process.exit(1))
    return
  }
  for (const fault of faults) process.stderr.write(`config: ${fault}\n`)
  process.exit(1)
}

/** Names the variable behind a failure to start, or returns undefined when the failure is not the configuration's. */
function describeStartFault(
  error: NodeJS.ErrnoException & { port?: number },
  { ADMIN_PORT }: Config,
): readonly string[] | undefined {
  const { code, syscall = '', port } = error
  if (error instanceof WorkerFault) return error.faults
  if (error instanceof UnusableDatabase) return [`DATABASE_URL: ${error.message}`]
  if (error instanceof UnusableDataFolder || error instanceof LedgerUnavailable) return [`DATA_DIR: ${error.message}`]
  if (code === 'EADDRNOTAVAIL' || syscall === 'getaddrinfo') return [`HOST: cannot be listened on (${code})`]
  if (syscall !== 'listen' && syscall !== 'bind') return undefined
  return [`${port === ADMIN_PORT ? 'ADMIN_PORT' : 'PORT'}: ${port} cannot be listened on (${code})`]
}

await main()
