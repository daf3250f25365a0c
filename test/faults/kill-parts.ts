import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import Database from 'libsql'
import type { Config } from '#src/config.js'
import type { Clock } from '#src/core/clock.js'
import type { Ledger } from '#src/ledger/ledger.js'
import { openLedger, type Report, type Rings } from '#src/open-parts.js'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { openRedisClient } from '#src/replay/redis-client.js'
import { RedisReplayStore } from '#src/replay/redis-replay-store.js'
import { ReplayRings } from '#src/replay/replay-rings.js'
import type { ReplayStore } from '#src/replay/replay-store.js'
import { type KillPointName, pass } from './kill-points.js'

/** Opens the ledger that the configuration names, with kill points around its bookings and inside its driver. */
export async function openKillableLedger(config: Config, report: Report): Promise<Ledger> {
  if (config.DATABASE_URL === undefined) watchSqliteDriver()
  else await watchPostgresDriver()
  const ledger = await openLedger(config, report)
  const book = ledger.book.bind(ledger)
  ledger.book = async (order) => {
    pass('booking-begins')
    const outcome = await book(order)
    if (outcome.kind === 'decided') pass('booking-decided')
    return outcome
  }
  return ledger
}

/** The rings as `openRings` builds them, with kill points around each of them. */
export async function openKillableRings(config: Config, clock: Clock): Promise<Rings> {
  const local = new LruReplayStore({ maxEntries: config.REPLAY_CACHE_SIZE, clock, whenFull: 'forget' })
  const size = () => local.size
  const consume = local.consume.bind(local)
  local.consume = async (claim) => {
    pass('memory-asked')
    const outcome = await consume(claim)
    if (outcome === 'consumed') pass('memory-claimed')
    return outcome
  }
  if (config.REDIS_URL === undefined) return { replayStore: watchReleases(local), size, close: () => undefined }
  const client = await openRedisClient(config.REDIS_URL)
  const shared = watchRedis(new RedisReplayStore({ client, clock }))
  return { replayStore: watchReleases(new ReplayRings({ local, shared })), size, close: () => client.disconnect() }
}

/** Kill points at both ends of a request, which neither ledger nor rings see. */
export function watchRequests(): void {
  const isTransfer = ({ method, url }: IncomingMessage) => method === 'POST' && url === '/transfers'
  subscribe('http.server.request.start', (message) => {
    if (isTransfer((message as { request: IncomingMessage }).request)) pass('request-begins')
  })
  subscribe('http.server.response.finish', (message) => {
    const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
    if (isTransfer(request) && response.statusCode === 201) pass('answer-sent')
  })
}

function watchReleases(store: ReplayStore): ReplayStore {
  const release = store.release.bind(store)
  store.release = async (claim) => {
    pass('release-begins')
    await release(claim)
    pass('release-ends')
  }
  return store
}

function watchRedis(store: ReplayStore): ReplayStore {
  const consume = store.consume.bind(store)
  const release = store.release.bind(store)
  store.consume = async (claim) => {
    passOnceSent('redis-claim-sent')
    const outcome = await consume(claim)
    if (outcome === 'consumed') pass('redis-claimed')
    return outcome
  }
  store.release = async (claim) => {
    passOnceSent('redis-release-sent')
    await release(claim)
    pass('redis-released')
  }
  return store
}

function watchSqliteDriver(): void {
  const { exec } = Database.prototype
  Database.prototype.exec = function (sql) {
    if (sql === 'commit') pass('sqlite-written')
    const result = exec.call(this, sql)
    if (sql === 'commit') pass('sqlite-committed')
    return result
  }
}

async function watchPostgresDriver(): Promise<void> {
  const { default: pg } = await import('pg')
  const { prototype } = pg.Client as unknown as { prototype: { query: (...parameters: unknown[]) => unknown } }
  const { query } = prototype
  prototype.query = function (...parameters) {
    const [config] = parameters as [{ name?: string } | string]
    if (typeof config === 'object' && config.name === 'book_transfers') passOnceSent('postgres-sent')
    return query.apply(this, parameters)
  }
}

/** Drivers write to their sockets in the turn in which they are called, or at its end. */
function passOnceSent(point: KillPointName): void {
  setImmediate(() => pass(point))
}
