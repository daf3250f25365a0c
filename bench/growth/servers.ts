import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { acr, type Issuer } from '../mint.js'
import { answers, everyCore, freePort, nodeCommand, onCores, startServer, stop } from '../processes.js'
import { readAccounts as readAccountsWith } from '../world.js'

/** The audience of every token: one token works at all servers of its issuer. */
export const audience = 'http://127.0.0.1'

export interface Server {
  process: ChildProcess
  port: number
  url: string
}

export interface ServerOptions {
  issuer: Issuer
  dataFolder: string
  /** Leaves the choice of cores to the kernel. Otherwise the server gets core 0. */
  unpinned?: boolean
  /** Further variables. */
  more?: Record<string, string>
}

/** The built servers that this run has started, so that it can end them however it ends itself. */
export class Servers {
  readonly #running = new Set<ChildProcess>()

  /** Starts the built server and resolves once it is ready. */
  async start({ issuer, dataFolder, unpinned = false, more = {} }: ServerOptions): Promise<Server> {
    const port = await freePort()
    const env = {
      PORT: String(port),
      ISSUER: issuer.url,
      AUDIENCE: audience,
      STEP_UP_ACR_VALUES: acr,
      DATA_DIR: dataFolder,
      ...more,
    }
    const url = `http://127.0.0.1:${port}`
    const command = onCores(unpinned ? everyCore : '0', nodeCommand('dist/server.js'))
    const process = await startServer(command, env, () => answers(`${url}/readyz`))
    this.#running.add(process)
    return { process, port, url }
  }

  /** Ends them and waits until they are gone. */
  async stop(): Promise<void> {
    await Promise.all([...this.#running].map(stop))
    this.#running.clear()
  }

  kill(): void {
    for (const process of this.#running) process.kill('SIGKILL')
  }
}

/** Resident memory of a process in MiB. */
export function residentMiB({ pid }: ChildProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** `GET /accounts` as a whole HTTP request, with each of the tokens. */
export function readAccounts(tokens: readonly string[]): Buffer[] {
  return tokens.map((token) => readAccountsWith(token))
}
