import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { arch, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { LRUCache } from 'lru-cache'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { replayKey } from '#src/replay/replay-store.js'
import { nodeCommand } from './processes.js'

/**
 * Measures what a used token costs in the first ring: the memory per live entry, everything counted, when the store has just
 * been filled and again after it has forgotten as many as it holds; and how long one insert takes, while the store grows and
 * when it is full. Beside them, as baselines in the same run, a bare Map and a bare LRUCache of the same keys to numbers.
 * Then how long one attempt takes at a full store that refuses. Every subject has a process of its own, with the server's
 * flags. Prints medians with minimum and maximum.
 */
const rounds = 3
const entries = 1_000_000
const lifetimeMs = 300_000
const subjects = ['LruReplayStore', 'LRUCache', 'Map', 'refusing LruReplayStore'] as const
type Subject = (typeof subjects)[number]
type Figures = Record<string, number>

/** The key of a new token, its parts read from a payload as the server reads them, and when it may be forgotten. */
function nextClaim(): { key: string; id: string; expiresAtMs: number } {
  const exp = Math.floor((Date.now() + lifetimeMs) / 1000)
  const payload = Buffer.from(JSON.stringify({ iss: 'https://bank.eu.auth0.example/', jti: randomUUID(), exp }))
  const {
    iss,
    jti,
    exp: expiresAtSeconds,
  } = JSON.parse(payload.toString()) as { iss: string; jti: string; exp: number }
  return { key: replayKey(iss, jti), id: '', expiresAtMs: expiresAtSeconds * 1000 + 60_000 }
}

function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('needs --expose-gc')
  globalThis.gc()
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function summarize(name: string, latenciesUs: Float64Array): Figures {
  const sorted = latenciesUs.toSorted()
  const quantile = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN
  return {
    [`${name}, mean, µs`]: sorted.reduce((sum, latencyUs) => sum + latencyUs, 0) / sorted.length,
    [`${name}, p50, µs`]: quantile(0.5),
    [`${name}, p99, µs`]: quantile(0.99),
    [`${name}, p99.99, µs`]: quantile(0.9999),
    [`${name}, max, µs`]: quantile(1),
  }
}

type Insert = (claim: ReturnType<typeof nextClaim>) => unknown

async function time(latenciesUs: Float64Array, insert: Insert): Promise<void> {
  for (let n = 0; n < latenciesUs.length; n += 1) {
    const claim = nextClaim()
    const begin = performance.now()
    await insert(claim)
    latenciesUs[n] = (performance.now() - begin) * 1000
  }
}

const openers: Record<Exclude<Subject, 'refusing LruReplayStore'>, () => Insert> = {
  LruReplayStore: () => {
    const store = new LruReplayStore({ maxEntries: entries, clock: { nowMs: Date.now }, whenFull: 'forget' })
    return (claim) => store.consume(claim)
  },
  LRUCache: () => {
    const cache = new LRUCache<string, number>({ max: entries })
    return ({ key, expiresAtMs }) => cache.set(key, expiresAtMs)
  },
  Map: () => {
    const map = new Map<string, number>()
    return ({ key, expiresAtMs }) => map.set(key, expiresAtMs)
  },
}

async function measureInserts(subject: keyof typeof openers): Promise<Figures> {
  const growing = new Float64Array(entries)
  const full = new Float64Array(2 * entries)
  const emptyBytes = usedBytes()
  const insert = openers[subject]()
  await time(growing, insert)
  const filledBytes = usedBytes() - emptyBytes
  // Uses it once more, and again below, so that it was not collected before its memory was measured.
  await insert(nextClaim())
  const figures = { 'filled, bytes an entry': filledBytes / entries, ...summarize('growing', growing) }
  // A bare Map forgets nothing.
  if (subject === 'Map') return figures
  await time(full, insert)
  const turnedOverBytes = usedBytes() - emptyBytes
  await insert(nextClaim())
  return { ...figures, 'turned over, bytes an entry': turnedOverBytes / entries, ...summarize('full', full) }
}

/** Attempts on a store full of live entries, then on one full of expired entries. */
async function measureRefusals(): Promise<Figures> {
  let nowMs = Date.now()
  const store = new LruReplayStore({ maxEntries: entries, clock: { nowMs: () => nowMs }, whenFull: 'refuse' })
  for (let n = 0; n < entries; n += 1) await store.consume(nextClaim())
  const attempt: Insert = (claim) => {
    nowMs += 1
    return store.consume({ ...claim, expiresAtMs: nowMs + lifetimeMs })
  }
  const refused = new Float64Array(20_000)
  await time(refused, attempt)
  nowMs += 2 * lifetimeMs
  const replacing = new Float64Array(20_000)
  await time(replacing, attempt)
  return { ...summarize('all live', refused), ...summarize('all expired', replacing) }
}

const measured = subjects.find((subject) => subject === process.argv[2])
if (measured !== undefined) {
  const figures = measured === 'refusing LruReplayStore' ? await measureRefusals() : await measureInserts(measured)
  console.log(JSON.stringify(figures))
} else {
  console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? arch()}, ${entries} entries`)
  const [node, ...parameters] = nodeCommand(fileURLToPath(import.meta.url)) as [string, ...string[]]
  const runs: Record<Subject, Figures>[] = []
  for (let round = 0; round < rounds; round += 1) {
    const figures = subjects.map((subject) => [
      subject,
      JSON.parse(execFileSync(node, ['--expose-gc', ...parameters, subject], { encoding: 'utf8' })),
    ])
    runs.push(Object.fromEntries(figures))
  }
  for (const subject of subjects) {
    console.log(`${subject} (${rounds} rounds)`)
    for (const name of Object.keys(runs[0]?.[subject] ?? {})) {
      const [least, median, most] = runs
        .map((run) => run[subject][name] ?? Number.NaN)
        .sort((a, b) => a - b)
        .map((figure) => figure.toFixed(1))
      console.log(`  ${name}: ${median} (${least} to ${most})`)
    }
  }
}
