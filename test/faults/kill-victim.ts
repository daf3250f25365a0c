import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { until } from '../helpers/server-process.js'
import type { Arming } from './kill-points.js'

const entry = fileURLToPath(new URL('faulty-server.js', import.meta.url))
// Of this process alone, since others may bundle at the same time.
const folder = fileURLToPath(new URL(`bundled-${process.pid}`, import.meta.url))

/**
 * Bundles the faulty server as the real one is, since a start that opens few files takes half the time. Resolves to the path
 * of its entry, which is gone when this process ends.
 */
export async function bundleFaultyServer(): Promise<string> {
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  await build({
    entryPoints: [entry],
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['libsql', '@fastify/swagger-ui'],
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module'",
        'const require = __createRequire(import.meta.url)',
        'const __filename = import.meta.filename',
        'const __dirname = import.meta.dirname',
      ].join('\n'),
    },
    logLevel: 'warning',
  })
  return `${folder}/faulty-server.js`
}

/** A faulty server that is to die. */
export class Victim {
  readonly url: string
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  #stderr = ''
  #listens = false

  /** Starts the process and does not wait for it. */
  constructor(path: string, environment: Record<string, string>) {
    this.url = `http://127.0.0.1:${environment['PORT']}`
    this.#child = fork(path, {
      // Nothing else of the environment: coverage of a process that is killed would only take time.
      env: { PATH: process.env['PATH'], ...environment },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#child.once('message', () => {
      this.#listens = true
    })
    // A message to a process that has just died.
    this.#child.on('error', () => undefined)
    this.#exited = new Promise((resolve) => {
      this.#child.once('close', () => resolve())
    })
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves once the server is ready for transfers and every ring answers: before that, Redis is not asked at all. */
  async ready(): Promise<void> {
    await until(`${this.url} is ready`, async () => {
      if (!this.running) throw new Error(`the server ended: ${this.#stderr}`)
      if (!this.#listens) return false
      const readiness = (await (await fetch(`${this.url}/readyz`)).json()) as { status: unknown }
      return readiness.status === 'ok'
    })
  }

  /** Resolves once the process counts its passings of a point. */
  async arm(arming: Arming): Promise<void> {
    const armed = once(this.#child, 'message')
    this.#child.send(arming)
    await armed
  }

  /** Kills the process if it still runs, and resolves when it is gone. Throws when it ended in another way. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
    if (this.#child.signalCode !== 'SIGKILL') throw new Error(`the server ended by itself: ${this.#stderr}`)
  }
}
