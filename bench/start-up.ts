import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { answers, describeMachine, freePort, start, stop, summarise } from './processes.js'

/**
 * Measures, on the built server with a SQLite ledger: the time from starting the process to the first 200 on /livez, and the
 * resident memory two seconds later, idle. Beside them, as a baseline in the same run, the time in which a bare `node -e ""`
 * starts and ends. Prints medians with minimum and maximum.
 */
const rounds = 11
const idleMs = 2000

async function measureServer(): Promise<{ startMs: number; residentMiB: number }> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-bench-'))
  const begin = performance.now()
  const server = start('dist/server.js', {
    PORT: String(port),
    ISSUER: 'http://127.0.0.1:9',
    AUDIENCE: `http://127.0.0.1:${port}`,
    DATA_DIR: folder,
  })
  while (!(await answers(`http://127.0.0.1:${port}/livez`))) await delay(2)
  const startMs = performance.now() - begin
  await delay(idleMs)
  const residentMiB = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024
  await stop(server)
  rmSync(folder, { recursive: true })
  return { startMs, residentMiB }
}

async function measureBareNode(): Promise<number> {
  const begin = performance.now()
  await new Promise((resolve) => spawn(process.execPath, ['-e', '']).once('exit', resolve))
  return performance.now() - begin
}

const servers = []
const bare = []
for (let round = 0; round < rounds; round += 1) {
  bare.push(await measureBareNode())
  servers.push(await measureServer())
}
const startMs = servers.map((server) => server.startMs)
const residentMiB = servers.map((server) => server.residentMiB)
console.log(describeMachine())
console.log(`bare node: ${summarise('ms', bare)}`)
console.log(`start to first 200 on /livez: ${summarise('ms', startMs)}`)
console.log(`resident memory, idle: ${summarise('MiB', residentMiB)}`)
