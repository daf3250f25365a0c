import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { Config } from './config.js'

const restartDelayMs = 1000

/** A worker could not start; the faults are for the operator, in the form of `config: ` lines. */
export class WorkerFault extends Error {
  override readonly name = 'WorkerFault'
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super('a worker could not start')
    this.faults = faults
  }
}

/** What primary and workers say to each other. Metrics have messages of their own. */
export type WorkerMessage =
  | { stepgate: 'close' }
  | { stepgate: 'faults'; faults: readonly string[] }
  /** A worker asks to be told once the accounts are open. */
  | { stepgate: 'await-accounts' }
  | { stepgate: 'accounts-open' }

/** Reads a message between processes; undefined when it is somebody else's. */
export function readMessage(message: unknown): WorkerMessage | undefined {
  return typeof message === 'object' && message !== null && 'stepgate' in message
    ? (message as WorkerMessage)
    : undefined
}

/** The workers of a primary process. */
export interface Workers {
  /** Resolves once every worker listens; rejects with `WorkerFault` when one cannot start. */
  started: Promise<void>
  /** Closes them: those that serve finish what is under way, those that still start are ended. May be called while they start. */
  close: () => Promise<void>
}

/**
 * Forks the workers, replaces one that dies after a second, and answers on the admin port for all of them. Workers are told
 * to close by message, not by signal, because a terminal or a service manager signals the whole group. A worker opens no
 * accounts, since their file may be gone by the time one is replaced: it waits until the primary has.
 */
export function startWorkers(config: Config, accountsOpen: Promise<void>): Workers {
  const running = new Set<Worker>()
  const serving = new Set<Worker>()
  const restarts = new Set<NodeJS.Timeout>()
  let admin: Server | undefined
  let closing = false

  function fork(): Worker {
    const worker = cluster.fork({ ACCOUNTS_FILE: '' })
    running.add(worker)
    worker.once('listening', () => serving.add(worker))
    worker.on('message', async (message) => {
      if (readMessage(message)?.stepgate !== 'await-accounts') return
      await accountsOpen
      if (worker.isConnected()) worker.send({ stepgate: 'accounts-open' } satisfies WorkerMessage)
    })
    worker.once('exit', () => {
      running.delete(worker)
      serving.delete(worker)
      if (!closing) restartSoon()
    })
    return worker
  }

  function restartSoon(): void {
    const restart = setTimeout(() => {
      restarts.delete(restart)
      startAgain()
    }, restartDelayMs)
    restarts.add(restart)
  }

  /** A replacement that cannot start says why, and is replaced in turn, since the first ones have shown that it should. */
  function startAgain(): void {
    waitUntilServing(fork()).catch(({ faults }: WorkerFault) => {
      for (const fault of faults) process.stderr.write(`config: ${fault}\n`)
    })
  }

  async function start(): Promise<void> {
    // One alone shows whether a worker can start, so that a fault is told once.
    await waitUntilServing(fork())
    await Promise.all(Array.from({ length: config.WORKERS - 1 }, fork).map(waitUntilServing))
    admin = await listenForAll(config, running)
  }

  async function close(): Promise<void> {
    closing = true
    for (const restart of restarts) clearTimeout(restart)
    admin?.close()
    await Promise.all(
      [...running].map(async (worker) => {
        const exited = once(worker, 'exit')
        // One that is still starting has nothing under way and does not hear yet.
        if (serving.has(worker) && worker.isConnected()) worker.send({ stepgate: 'close' } satisfies WorkerMessage)
        else worker.process.kill('SIGKILL')
        await exited
      }),
    )
  }

  const started = start().catch((error: unknown) => {
    // Workers that are ended while they start are no fault.
    if (!closing) throw error
  })
  return { started, close }
}

/**
 * Rejects with `WorkerFault` when the worker fails before it listens. One that was ended from outside, such as by a signal to the
 * whole group, shows no fault: it is replaced like any that dies.
 */
function waitUntilServing(worker: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    let faults: readonly string[] = []
    worker.on('message', (message) => {
      const told = readMessage(message)
      if (told?.stepgate === 'faults') faults = told.faults
    })
    worker.once('listening', () => resolve())
    worker.once('exit', (code, signal) => {
      if (code === 0 || signal !== null) resolve()
      else reject(new WorkerFault(faults))
    })
  })
}

async function listenForAll({ ADMIN_PORT, WORKERS }: Config, running: ReadonlySet<Worker>) {
  if (ADMIN_PORT === undefined) return undefined
  const { collectFromWorkers, listenForAdmin } = await import('./plugins/operations.js')
  return listenForAdmin(ADMIN_PORT, {
    metrics: collectFromWorkers(),
    health: async () => ({ workers: { configured: WORKERS, running: running.size } }),
  })
}
