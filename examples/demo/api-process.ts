import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { demoHost, demoStepUp, inPackage, packageFolder } from './settings.js'

/** The API in a process of its own. */
export interface ApiProcess {
  /**
   * Resolves when it answers. Rejects when it ends before, or does not answer within ten seconds. Does not wait for the
   * issuer's keys; the first request that needs them does.
   */
  ready(): Promise<void>
  /** Resolves when the process has ended, with words for how. */
  readonly ended: Promise<string>
  /** Sends SIGTERM and waits for the end; after ten seconds and a bit, SIGKILL. */
  stop(): Promise<void>
  /** SIGKILL at once, for the last moment of our own process. */
  kill(): void
}

const startTimeoutMs = 10_000
const pollMs = 50
const stopTimeoutMs = 12_000

/**
 * Starts the API as `npm start` does, with the same V8 flags, on loopback. It gets the environment that is named here and
 * PATH, so a DATABASE_URL that happens to be set does not leak in. Its lines go where ours go.
 */
export function startApi(options: {
  port: number
  issuer: string
  dataFolder: string
  /** Origins of pages that may call it, separated by spaces. */
  corsOrigins?: string
}): ApiProcess {
  const { port, issuer, dataFolder, corsOrigins = '' } = options
  const publicUrl = `http://${demoHost}:${port}`
  const child = spawn(process.execPath, readStartArguments(), {
    cwd: packageFolder,
    env: {
      PATH: process.env['PATH'],
      HOST: demoHost,
      PORT: String(port),
      PUBLIC_URL: publicUrl,
      ISSUER: issuer,
      AUDIENCE: publicUrl,
      STEP_UP_ACR_VALUES: demoStepUp.acrValues,
      STEP_UP_MAX_AGE: String(demoStepUp.maxAgeSeconds),
      CORS_ORIGINS: corsOrigins,
      DATA_DIR: dataFolder,
      ACCOUNTS_FILE: inPackage('examples/demo/accounts.json'),
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'inherit', 'inherit'],
    // A group of its own: Ctrl-C reaches every process of the terminal's group, and the API would get a second signal
    // from us, which it takes as "at once".
    detached: true,
  })
  let hasEnded = false
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : signal))
  }).finally(() => {
    hasEnded = true
  })

  return {
    ended,
    async ready() {
      const deadlineMs = Date.now() + startTimeoutMs
      while (!(await answers(`${publicUrl}/livez`))) {
        if (hasEnded) throw new Error(`the API ended before it was ready (${await ended})`)
        if (Date.now() > deadlineMs) throw new Error(`the API was not ready within ${startTimeoutMs / 1000} s`)
        await wait(pollMs)
      }
    },
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
      child.kill('SIGTERM')
      await ended
      clearTimeout(timer)
    },
    kill() {
      child.kill('SIGKILL')
    },
  }
}

/** The arguments of node in the package's start script: V8 flags, then the file. */
function readStartArguments(): string[] {
  const { scripts } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as { scripts: { start: string } }
  return scripts.start.split(' ').slice(1)
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url)
    await response.body?.cancel()
    return response.ok
  } catch {
    return false
  }
}
