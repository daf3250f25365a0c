import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { arch, cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

/** Node's flags in the package's start script. */
const flags = (JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { start: string } }).scripts.start
  .split(' ')
  .filter((word) => word.startsWith('--'))
const startDeadlineMs = 20_000
/** Longer than the server takes to drain. */
const stopDeadlineMs = 12_000
export const askDeadlineMs = 2000
const started = new Set<ChildProcess>()

/** Whether a process can be given a core of its own: the server core 0, whoever asks it core 1. */
export const canPin = cpus().length > 1 && spawnSync('taskset', ['-c', '1', 'true']).status === 0

/** All cores of the machine, as `taskset -c` takes them. */
export const everyCore = `0-${cpus().length - 1}`

/** How to have a command run on these cores. */
export function onCores(cores: string, command: readonly string[]): string[] {
  return [...(canPin ? ['taskset', '-c', cores] : []), ...command]
}

export function describeMachine(): string {
  return `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? arch()}`
}

/** Moves the calling thread to core 1. Threads that run already, such as those that sign tokens, stay on every core. */
export function pinClient(): void {
  if (canPin) spawnSync('taskset', ['-cp', '1', String(process.pid)])
}

/** Lets the calling thread run on every core again, and what it starts from now on. */
export function unpinClient(): void {
  if (canPin) spawnSync('taskset', ['-cp', everyCore, String(process.pid)])
}

/** Whether a program is there to be run. */
export function isInstalled(program: string): boolean {
  return spawnSync(program, ['-v'], { stdio: 'ignore' }).error === undefined
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** A script with the start script's flags, as a command. */
export function nodeCommand(script: string): string[] {
  return [process.execPath, ...flags, script]
}

/**
 * Starts a server by its command and resolves once it is ready, which is asked every `pollMs`. The environment is all that it
 * sees, beside PATH. Throws when it ends before, or is not ready within 20 s, with what it said on stderr; whatever else it logs
 * is thrown away.
 */
export async function startServer(
  command: readonly string[],
  env: Record<string, string>,
  isReady: () => Promise<boolean>,
  pollMs = 20,
): Promise<ChildProcess> {
  const environment = { PATH: process.env['PATH'], ...env }
  const [program, ...parameters] = command as [string, ...string[]]
  const server = spawn(program, parameters, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  started.add(server)
  server.once('exit', () => started.delete(server))
  let said = ''
  let failed = false
  server.stderr.on('data', (text) => {
    said = `${said}${text}`.slice(-2000)
  })
  server.on('error', (error) => {
    failed = true
    said += error.message
  })
  const giveUpMs = performance.now() + startDeadlineMs
  while (!(await isReady())) {
    if (failed || hasEnded(server) || performance.now() > giveUpMs) {
      server.kill('SIGKILL')
      throw new Error(`${command.join(' ')} did not start: ${said}`)
    }
    await delay(pollMs)
  }
  return server
}

/** Ends at once every server that `startServer` has started, however this process ends itself. */
export function killServers(): void {
  for (const server of started) server.kill('SIGKILL')
}

/** Whether an address answers 200 within two seconds. */
export async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(askDeadlineMs) }).then(
    ({ status }) => status === 200,
    () => false,
  )
}

/** Processor time that a process and its children have used, all threads, in milliseconds; NaN where /proc does not tell. */
export function cpuTimeMs({ pid }: Pick<ChildProcess, 'pid'>): number {
  const childrenPath = `/proc/${pid}/task/${pid}/children`
  if (!existsSync(childrenPath)) return Number.NaN
  // The second field is a name in brackets; the 14th and 15th count ticks of 10 ms in the program and in the kernel.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')
  const children = readFileSync(childrenPath, 'utf8').split(' ').filter(Boolean)
  const ownMs = (Number(fields?.[11]) + Number(fields?.[12])) * 10
  return children.reduce((sumMs, child) => sumMs + cpuTimeMs({ pid: Number(child) }), ownMs)
}

/** Memory of a process that is in RAM, in megabytes (10^6 bytes): now, or the most that it ever was. */
export function residentMB({ pid }: ChildProcess, field: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return (Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6
}

/** Ends a process, by force after 12 s, and waits until it is gone. */
export async function stop(server: ChildProcess): Promise<void> {
  if (hasEnded(server)) return
  const gone = once(server, 'exit')
  server.kill('SIGTERM')
  const force = setTimeout(() => server.kill('SIGKILL'), stopDeadlineMs)
  await gone
  clearTimeout(force)
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

/** The median with minimum and maximum, in words. */
export function summarise(unit: string, values: readonly number[], digits = 0): string {
  const sorted = [...values].sort((a, b) => a - b)
  const [least, median, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].map((value) =>
    value?.toFixed(digits),
  )
  return `${median} ${unit} (${least} to ${most}, ${values.length} rounds)`
}
