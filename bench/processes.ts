import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { arch, cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

/** Node's flags in the package's start script. */
const flags = ['--min-semi-space-size=16', '--max-semi-space-size=32']
const startDeadlineMs = 20_000

/** Whether a process can be given a core of its own: the server core 0, whoever asks it core 1. */
export const canPin = cpus().length > 1 && spawnSync('taskset', ['-c', '1', 'true']).status === 0

export function describeMachine(): string {
  return `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? arch()}`
}

/** Moves the calling thread to core 1. Threads that run already, such as those that sign tokens, stay on every core. */
export function pinClient(): void {
  if (canPin) spawnSync('taskset', ['-cp', '1', String(process.pid)])
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

/** Starts a script with the start script's flags. The environment is all that it sees; what it logs is thrown away. */
export function start(script: string, env: Record<string, string>, pin = false): ChildProcess {
  const command = [...(pin && canPin ? ['taskset', '-c', '0'] : []), process.execPath, ...flags, script]
  return spawn(command[0] as string, command.slice(1), { env, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** The same on core 0. Resolves once the path answers 200 on the port that the environment names. */
export async function startPinned(script: string, env: Record<string, string>, path: string): Promise<ChildProcess> {
  const server = start(script, env, true)
  await untilAnswering(server, `http://127.0.0.1:${env['PORT']}${path}`)
  return server
}

/** Waits until an address of a server that was started answers 200. Throws when it ends or takes too long. */
export async function untilAnswering(server: ChildProcess, url: string): Promise<void> {
  const giveUpMs = performance.now() + startDeadlineMs
  while (!(await answers(url))) {
    if (server.exitCode !== null || performance.now() > giveUpMs) throw new Error(`${url} does not answer`)
    await delay(20)
  }
}

/** Whether an address answers 200. */
export async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ status }) => status === 200,
    () => false,
  )
}

/** Processor time that a process has used, all of its threads, in milliseconds; NaN where /proc does not tell. */
export function cpuTimeMs({ pid }: ChildProcess): number {
  const path = `/proc/${pid}/stat`
  // The second field is a name in brackets; the 14th and 15th count ticks of 10 ms in the program and in the kernel.
  const fields = existsSync(path) ? readFileSync(path, 'utf8').split(') ')[1]?.split(' ') : undefined
  return (Number(fields?.[11]) + Number(fields?.[12])) * 10
}

/** Ends a process and waits until it is gone. */
export async function stop(server: ChildProcess): Promise<void> {
  const gone = once(server, 'exit')
  server.kill('SIGTERM')
  await gone
}

/** The median with minimum and maximum, in words. */
export function summarise(unit: string, values: readonly number[], digits = 0): string {
  const sorted = [...values].sort((a, b) => a - b)
  const [least, median, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)].map((value) =>
    value?.toFixed(digits),
  )
  return `${median} ${unit} (${least} to ${most}, ${values.length} rounds)`
}
