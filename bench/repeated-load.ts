import { execFile } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { connectionCount } from './load.js'
import { everyCore, isInstalled, onCores } from './processes.js'

const run = promisify(execFile)
export const hasWrk = isInstalled('wrk')
const hasAutocannon = existsSync('bench/node_modules/autocannon')

/** What sends requests that may be sent again and again. */
export const loadTool = hasWrk ? 'wrk, 1 thread' : 'autocannon (wrk is not installed)'

export interface RepeatedLoad {
  port: number
  /** Written by `writeRequests`. */
  file: string
  /** Position of the request to begin with. */
  first: number
  expectedStatus: number
  /** Whole ones. */
  seconds: number
  /** Whether it shares every core with the server. */
  shareCores: boolean
}

export interface RepeatedResult {
  answered: number
  seconds: number
  /** Position of the next request. */
  next: number
}

/** Writes whole HTTP/1.1 requests, each behind a line with its length. */
export function writeRequests(file: string, requests: readonly Buffer[]): void {
  writeFileSync(file, Buffer.concat(requests.flatMap((request) => [Buffer.from(`${request.length}\n`), request])))
}

/**
 * Sends the requests of a file in order, over and over, in a closed loop from a process on core 1. Throws when an answer is
 * missing or has another status.
 */
export async function runRepeated(load: RepeatedLoad): Promise<RepeatedResult> {
  const { port, file, first, expectedStatus, seconds, shareCores } = load
  const url = `http://127.0.0.1:${port}`
  const settings = [file, String(first), String(expectedStatus)]
  if (!hasWrk && !hasAutocannon) throw new Error('neither wrk nor autocannon is there: apt-get install wrk')
  const command = hasWrk
    ? ['wrk', '-t1', `-c${connectionCount}`, `-d${seconds}s`, '-s', 'bench/wrk.lua', url, '--', ...settings]
    : [process.execPath, 'bench/autocannon.mjs', url, ...settings, String(seconds)]
  const [program, ...parameters] = onCores(shareCores ? everyCore : '1', command) as [string, ...string[]]
  const { stdout } = await run(program, parameters)
  const [answered, micros, unexpected, next] = (/^RESULT (.*)$/m.exec(stdout)?.[1] ?? '').split(' ').map(Number)
  if (answered === undefined || micros === undefined || next === undefined) throw new Error(`${program}: ${stdout}`)
  if (!(answered > 0)) throw new Error('not one request was answered')
  if (unexpected !== 0) throw new Error(`${unexpected} of ${answered} answers were missing or not ${expectedStatus}`)
  return { answered, seconds: micros / 1e6, next }
}
