import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { ManualClock } from './manual-clock.js'
import { findLastingPort } from './ports.js'
import { acrMfa, ibans, publicUrl, TokenMint } from './test-api.js'
import type { TestIssuer } from './test-issuer.js'

/** The server as it was compiled, whose coverage counts, and as it is shipped, in one bundle. */
const serverPaths = {
  compiled: fileURLToPath(import.meta.resolve('#src/server.js')),
  bundled: fileURLToPath(new URL('server.js', import.meta.resolve('stepgate'))),
}
const deadlineMs = 20_000

export interface ServerOptions {
  /** Which form of the server to run; `compiled` by default. */
  form?: keyof typeof serverPaths
  /** Arguments for node, before the script. */
  nodeArguments?: string[]
  /** A command that runs node, such as a tracer with its arguments. */
  wrapper?: string[]
  /** Give the process a group of its own, so that a test can signal all of it. */
  ownGroup?: boolean
}

/** A server process and what it wrote. */
export class ServerProcess {
  readonly child: ChildProcess
  readonly url: string
  /** Resolves when the process is gone and its output is complete. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  stdout = ''
  stderr = ''

  constructor(
    environment: Record<string, string>,
    { form = 'compiled', nodeArguments = [], wrapper = [], ownGroup = false }: ServerOptions,
  ) {
    const command = [...wrapper, process.execPath, ...nodeArguments, serverPaths[form]]
    this.url = `http://127.0.0.1:${environment['PORT']}`
    this.child = spawn(command[0] as string, command.slice(1), {
      env: { ...withoutConfiguration(process.env), ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: ownGroup,
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal }))
  }

  get pid(): number {
    return this.child.pid as number
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** The log, one object a line. */
  get log(): Record<string, unknown>[] {
    const lines = this.stdout.split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line))
  }

  /** Sends a signal and waits for the end. Resolves to the exit code, null when the signal itself ended the process. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal)
    return (await this.exited).code
  }
}

/** Leaves out the variables of the server's own configuration and of its drivers, in case whoever runs the tests has some. */
function withoutConfiguration(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const names = [
    ...['HOST', 'PORT', 'ISSUER', 'AUDIENCE', 'WORKERS', 'ADMIN_PORT', 'LOG_LEVEL', 'DATA_DIR', 'ACCOUNTS_FILE'],
    ...['ALGORITHMS', 'TOKEN_PROFILE', 'SCOPE_CLAIMS', 'CLOCK_LEEWAY', 'RATE_LIMIT', 'CORS_ORIGINS', 'JWKS_MAX_STALE'],
    ...['SINGLE_USE_MAX_LIFETIME', 'REPLAY_CACHE_SIZE', 'TRANSACTION_BINDING', 'DPOP.*', 'STEP_UP_.*', 'PG.*'],
    '[A-Z]+_(?:URL|URI)',
  ]
  const own = new RegExp(`^(?:${names.join('|')})$`)
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !own.test(name)))
}

/** Waits for a condition that another process brings about, and throws when it does not come. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpMs = performance.now() + deadlineMs
  while (!(await condition())) {
    if (performance.now() > giveUpMs) throw new Error(`waited in vain until ${what}`)
    await delay(10)
  }
}

/** A port that nobody listened on a moment ago. */
export async function findFreePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The configuration of a bank with alice's and bob's accounts, in a folder of its own; with changes. */
export async function bankEnvironment(
  t: Test,
  issuerUrl: string,
  changes: Record<string, string> = {},
): Promise<Record<string, string> & { PORT: string; DATA_DIR: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-process-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const accounts = [
    { owner: 'alice', iban: ibans.alice, name: 'Current', currency: 'EUR', balance: '1000.00' },
    { owner: 'bob', iban: ibans.bob, name: 'Current', currency: 'EUR', balance: '200.00' },
  ]
  writeFileSync(join(folder, 'accounts.json'), JSON.stringify(accounts))
  return {
    PORT: String(await findLastingPort()),
    ISSUER: issuerUrl,
    AUDIENCE: publicUrl,
    DATA_DIR: join(folder, 'data'),
    ACCOUNTS_FILE: join(folder, 'accounts.json'),
    STEP_UP_ACR_VALUES: acrMfa,
    LOG_LEVEL: 'warn',
    ...changes,
  }
}

/** Waits until a server can serve: it has keys and its ledger. */
export function untilReady({ url }: Pick<ServerProcess, 'url'>): Promise<void> {
  return until(`${url} is ready`, async () => (await fetch(`${url}/readyz`)).status === 200)
}

/** Tokens that a server process accepts: it reads the machine's clock. */
export function mintFor(issuer: TestIssuer): TokenMint {
  return new TokenMint(issuer, new ManualClock(), publicUrl)
}

/** Starts the server and waits until it answers. It is killed at the end of the test if it still runs. */
export async function startServer(
  t: Test,
  environment: Record<string, string>,
  options: ServerOptions = {},
): Promise<ServerProcess> {
  const server = launch(t, environment, options)
  await until(`${server.url} answers`, async () => {
    if (!server.running) throw new Error(`the server ended: ${server.stderr}`)
    return fetch(`${server.url}/livez`).then(
      (response) => response.ok,
      () => false,
    )
  })
  return server
}

/** Runs a server that is expected to end by itself, and waits for that. */
export async function runServer(
  t: Test,
  environment: Record<string, string>,
  options: ServerOptions = {},
): Promise<ServerProcess> {
  const server = launch(t, environment, options)
  await until('the server ends', () => !server.running)
  await server.exited
  return server
}

function launch(t: Test, environment: Record<string, string>, options: ServerOptions): ServerProcess {
  const server = new ServerProcess(environment, options)
  t.teardown(async () => {
    if (server.running) server.child.kill('SIGKILL')
    await server.exited
  })
  return server
}
