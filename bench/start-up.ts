import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { arch, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Measures, on the built server with a SQLite ledger: the time from starting the process to the first 200 on /livez, and the
 * resident memory two seconds later, idle. Beside them, as a baseline in the same run, the time in which a bare `node -e ""`
 * starts and ends. Prints medians with minimum and maximum.
 */
const rounds = 11
const idleMs = 2000

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function measureServer(): Promise<{ startMs: number; residentMiB: number }> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-bench-'))
  const begin = performance.now()
  const server = spawn(process.execPath, ['--min-semi-space-size=16', '--max-semi-space-size=32', 'dist/server.js'], {
    stdio: 'ignore',
    env: { PORT: String(port), ISSUER: 'http://127.0.0.1:9', AUDIENCE: `http://127.0.0.1:${port}`, DATA_DIR: folder },
  })
  while (!(await answers(port))) await delay(2)
  const startMs = performance.now() - begin
  await delay(idleMs)
  const residentMiB = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024
  server.kill('SIGTERM')
  await new Promise((resolve) => server.once('exit', resolve))
  rmSync(folder, { recursive: true })
  return { startMs, residentMiB }
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/livez`).then(
    ({ status }) => status === 200,
    () => false,
  )
}

async function measureBareNode(): Promise<number> {
  const begin = performance.now()
  await new Promise((resolve) => spawn(process.execPath, ['-e', '']).once('exit', resolve))
  return performance.now() - begin
}

function print(name: string, unit: string, values: readonly number[]): void {
  const sorted = [...values].sort((a, b) => a - b)
  const [least, median, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)]
  console.log(
    `${name}: ${median?.toFixed(0)} ${unit} (${least?.toFixed(0)} to ${most?.toFixed(0)}, ${values.length} rounds)`,
  )
}

const servers = []
const bare = []
for (let round = 0; round < rounds; round += 1) {
  bare.push(await measureBareNode())
  servers.push(await measureServer())
}
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? arch()}`)
print('bare node', 'ms', bare)
print(
  'start to first 200 on /livez',
  'ms',
  servers.map(({ startMs }) => startMs),
)
print(
  'resident memory, idle',
  'MiB',
  servers.map(({ residentMiB }) => residentMiB),
)
