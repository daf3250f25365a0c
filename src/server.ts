import cluster from 'node:cluster'
import closeWithGrace from 'close-with-grace'
import { type Config, readConfig } from './config.js'
import { UnusableDataFolder } from './ledger/sqlite/connection.js'
import { SqliteLedger } from './ledger/sqlite/sqlite-ledger.js'
import { serve } from './serve.js'
import { closeMessage, startWorkers } from './workers.js'

const graceMs = 9500

async function main(): Promise<void> {
  const read = readConfig(process.env)
  if ('faults' in read) stop(read.faults)
  const { config, warnings } = read
  const ledger = await openLedger(config)
  if (config.WORKERS === 1) {
    closeGracefully(await serve({ config, warnings, ledger, adminListener: true }))
  } else if (cluster.isPrimary) {
    // The primary has shown that the folder is sound; each worker opens it for itself.
    await ledger.close()
    closeGracefully(await startWorkers(config))
  } else {
    // A worker closes when its primary says so or is gone; signals to the whole group are the primary's.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
    const close = await serve({
      config,
      warnings: cluster.worker?.id === 1 ? warnings : [],
      ledger,
      adminListener: false,
    })
    const grace = closeGracefully(close, ['SIGINT', 'SIGTERM'])
    process.once('message', (message) => message === closeMessage && grace.close())
    process.once('disconnect', () => grace.close())
  }
}

async function openLedger(config: Config): Promise<SqliteLedger> {
  const ledger = await SqliteLedger.open(config.DATA_DIR)
  if (cluster.isPrimary) await ledger.openAccounts(config.ISSUER, config.ACCOUNTS_FILE)
  return ledger
}

function closeGracefully(close: () => Promise<void>, skip: ('SIGINT' | 'SIGTERM')[] = []) {
  return closeWithGrace({ delay: graceMs, logger: false, skip }, async ({ err }) => {
    if (err !== undefined) process.stderr.write(`${err.stack}\n`)
    await close()
  })
}

/** Prints faults as the contract says, one line each, and ends the process. */
function stop(faults: readonly string[]): never {
  for (const fault of faults) process.stderr.write(`config: ${fault}\n`)
  process.exit(1)
}

/** Names the variable behind a failure to listen, or returns undefined when the failure is another one. */
function describeListenFault({ code, syscall, port }: NodeJS.ErrnoException & { port?: number }): string | undefined {
  if (code === 'EADDRNOTAVAIL' || syscall === 'getaddrinfo') return `HOST: cannot be listened on (${code})`
  if (syscall !== 'listen') return undefined
  const name = String(port) === process.env['ADMIN_PORT'] ? 'ADMIN_PORT' : 'PORT'
  return `${name}: ${port} cannot be listened on (${code})`
}

main().catch((error) => {
  if (error instanceof UnusableDataFolder) stop([`DATA_DIR: ${error.message}`])
  const fault = describeListenFault(error)
  if (fault !== undefined) stop([fault])
  throw error
})
