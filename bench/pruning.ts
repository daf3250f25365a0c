import { mkdtempSync, rmSync } from 'node:fs'
import { arch, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Ledger } from '#src/ledger/ledger.js'
import { PostgresLedger } from '#src/ledger/postgres/postgres-ledger.js'
import { pruneAll } from '#src/ledger/pruning.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { findLastingPort } from '../test/helpers/external-server.js'
import { PostgresServer } from '../test/helpers/postgres-server.js'
import { ibans, issuer, makeOrder, openings } from '../test/ledger/orders.js'
import { SqliteFiller } from './fill.js'

/**
 * Measures what pruning does to bookings while many spent tokens and idempotency records live: the latency of bookings at a
 * fixed rate, in process, first without pruning and then while expired rows are pruned without a pause. Both ledgers, one
 * after the other, as durable as they ship.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    expired: { type: 'string', default: '200000' },
    ledger: { type: 'string', multiple: true, default: ['sqlite', 'postgres'] },
  },
})
const liveRows = Number(values.rows)
const expiredRows = Number(values.expired)
const bookingsPerSecond = 500
const baselineMs = 10_000
const nowMs = Date.now()
const dayMs = 86_400_000

interface Bench {
  /** Holds the rows, the live ones to be forgotten within a day, half as many records as tokens. */
  ledger: Ledger
  close: () => Promise<void>
}

async function openSqlite(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-bench-'))
  const filler = await SqliteFiller.create(folder)
  const fill = async (mark: string, count: number, fromMs: number) => {
    await filler.insertTokens(issuer, count, { mark, fromMs, toMs: fromMs + dayMs })
    const key = `printf('%08x-${mark}', i * 800)`
    const columns = `'${issuer}', 'alice', ${key}, zeroblob(32), 'request', null, 'not-found', ${fromMs} + i % ${dayMs}`
    await filler.insert('idempotency_records', count / 2, columns)
  }
  await fill('live', liveRows, nowMs)
  await fill('expired', expiredRows, nowMs - 1 - dayMs)
  filler.close()
  const ledger = await SqliteLedger.open(folder)
  return {
    ledger,
    close: async () => {
      await ledger.close()
      rmSync(folder, { recursive: true })
    },
  }
}

async function openPostgres(): Promise<Bench> {
  const server = new PostgresServer(await findLastingPort(), { settings: { max_wal_size: '4GB' } })
  await server.initialise()
  await server.start()
  const url = await server.createDatabase()
  const ledger = await PostgresLedger.open({ url })
  const fill = (prefix: string, count: number, until: string) =>
    server.query(
      url,
      `with tokens as (
         insert into stepgate.spent_tokens
         select '${issuer}', lpad(to_hex(i::bigint * 400), 8, '0') || '-${prefix}', ${until} from generate_series(0, ${count - 1}) i)
       insert into stepgate.idempotency_records
       select '${issuer}', 'alice', lpad(to_hex(i::bigint * 800), 8, '0') || '-${prefix}', '\\x00', 'request', null, 'not-found', ${until}
       from generate_series(0, ${count / 2 - 1}) i`,
    )
  await fill('live', liveRows, `${nowMs}::bigint + i % ${dayMs}`)
  await fill('expired', expiredRows, `${nowMs}::bigint - 1 - i % ${dayMs}`)
  await server.query(url, 'vacuum analyze')
  await server.query(url, 'checkpoint')
  return {
    ledger,
    close: async () => {
      await ledger.close()
      await server.remove()
    },
  }
}

/** Books at a fixed rate until told to stop. Resolves to the latencies, from the moment at which each booking was due. */
async function bookSteadily(ledger: Ledger, stop: { requested: boolean }): Promise<number[]> {
  const latenciesMs: number[] = []
  const under: Promise<void>[] = []
  const beginMs = performance.now()
  for (let n = 0; !stop.requested; ) {
    const dueMs = beginMs + (n * 1000) / bookingsPerSecond
    if (performance.now() < dueMs) {
      await delay(1)
      continue
    }
    n += 1
    const order = makeOrder({
      instruction: { creditorIban: ibans.unknown },
      token: { rememberUntilMs: nowMs + dayMs },
      nowMs,
    })
    under.push(
      ledger
        .book({ ...order, idempotency: { key: `bench-${n}-${beginMs}`, requestDigest: Buffer.alloc(32) } })
        .then(() => {
          latenciesMs.push(performance.now() - dueMs)
        }),
    )
  }
  await Promise.all(under)
  return latenciesMs
}

function describe(latenciesMs: number[]): string {
  const sorted = latenciesMs.sort((one, other) => one - other)
  const at = (share: number): string => (sorted[Math.floor((sorted.length - 1) * share)] as number).toFixed(1)
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms (${sorted.length} bookings)`
}

async function measure(name: string, { ledger, close }: Bench): Promise<void> {
  try {
    await ledger.openAccounts(issuer, openings)
    const baseline = { requested: false }
    setTimeout(() => {
      baseline.requested = true
    }, baselineMs)
    console.log(
      `${name}, ${bookingsPerSecond} bookings/s, no pruning:    ${describe(await bookSteadily(ledger, baseline))}`,
    )
    const pruning = { requested: false }
    const beginMs = performance.now()
    const pruned = pruneAll(ledger, { nowMs: () => nowMs }).finally(() => {
      pruning.requested = true
    })
    console.log(
      `${name}, ${bookingsPerSecond} bookings/s, while pruning: ${describe(await bookSteadily(ledger, pruning))}`,
    )
    const seconds = (performance.now() - beginMs) / 1000
    console.log(`${name}: ${await pruned} rows pruned in ${seconds.toFixed(1)} s`)
  } finally {
    await close()
  }
}

console.log(
  `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? arch()}; ${liveRows} spent tokens and ${liveRows / 2} records live`,
)
const benches: Record<string, () => Promise<Bench>> = { sqlite: openSqlite, postgres: openPostgres }
for (const name of values.ledger) {
  const open = benches[name]
  if (open === undefined) throw new Error(`--ledger: expected sqlite or postgres, got ${name}`)
  await measure(name, await open())
}
