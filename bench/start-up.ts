import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { BenchCase } from './load-case.js'
import { answers, freePort, nodeCommand, residentMB, startServer, stop } from './processes.js'

const idleMs = 2000
const pollMs = 2

/**
 * The time from starting the process to its first 200 on /livez, with a new SQLite ledger, and its memory two seconds later,
 * idle. Beside it the time in which a bare `node -e ""` starts and ends.
 */
export const startUpCase: BenchCase = {
  name: 'start-up',
  run: async ({ rounds, quick }) => {
    const bareMs: number[] = []
    const servers: { startMs: number; idleMB: number }[] = []
    for (let round = 0; round < (quick ? 3 : Math.max(rounds, 11)); round += 1) {
      bareMs.push(await measureBareNode())
      servers.push(await measureServer())
    }
    const startsMs = servers.map(({ startMs }) => startMs)
    const idleMB = servers.map((server) => server.idleMB)
    return {
      name: 'start-up',
      title: 'from starting the process to the first 200 on /livez, and memory two seconds later',
      notes: ['nothing is pinned'],
      measured: [
        { name: 'stepgate', figures: { 'start, ms': startsMs, 'resident, MB': idleMB } },
        { name: 'node -e "", to its end', figures: { 'start, ms': bareMs } },
      ],
      goals: [{ candidate: 'stepgate', figure: 'start, ms', bound: 'most', goal: 350, stretch: 250 }],
    }
  },
}

async function measureServer(): Promise<{ startMs: number; idleMB: number }> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-bench-'))
  const variables = {
    PORT: String(port),
    ISSUER: 'http://127.0.0.1:9',
    AUDIENCE: `http://127.0.0.1:${port}`,
    DATA_DIR: folder,
  }
  try {
    const begin = performance.now()
    const isAlive = () => answers(`http://127.0.0.1:${port}/livez`)
    const server = await startServer(nodeCommand('dist/server.js'), variables, isAlive, pollMs)
    const startMs = performance.now() - begin
    await delay(idleMs)
    const idleMB = residentMB(server)
    await stop(server)
    return { startMs, idleMB }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function measureBareNode(): Promise<number> {
  const begin = performance.now()
  await new Promise((resolve) => spawn(process.execPath, ['-e', '']).once('exit', resolve))
  return performance.now() - begin
}
