import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import Database from 'libsql'
import type { Config } from '#src/config.js'
import type { Clock } from '#src/core/clock.js'
import type { Ledger } from '#src/ledger/ledger.js'
import { openLedger, openRings, type Report, type Rings } from '#src/open-parts.js'
import { LruReplayStore } from '#src/replay/lru-replay-store.js'
import { RedisReplayStore } from '#src/replay/redis-replay-store.js'
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

/** Opens the rings that the configuration names, with kill points around each of them and at the driver of Redis. */
export async function openKillableRings(config: Config, clock: Clock, report: Report): Promise<Rings> {
  watchMemory()
  if (config.REDIS_URL !== undefined) {
    watchRedisStore()
    await watchRedisDriver()
  }
  const rings = await openRings(config, clock, report)
  watchReleases(rings.replayStore)
  return rings
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

function watchReleases(store: ReplayStore): void {
  const release = store.release.bind(store)
  store.release = async (claim) => {
    pass('release-begins')
    await release(claim)
    pass('release-ends')
  }
}

function watchMemory(): void {
  const { prototype } = LruReplayStore
  const { consume } = prototype
  prototype.consume = async function (claim) {
    pass('memory-asked')
    const outcome = await consume.call(this, claim)
    if (outcome === 'consumed') pass('memory-claimed')
    return outcome
  }
}

function watchRedisStore(): void {
  const { prototype } = RedisReplayStore
  const { consume, release } = prototype
  prototype.consume = async function (claim) {
    const outcome = await consume.call(this, claim)
    if (outcome === 'consumed') pass('redis-claimed')
    return outcome
  }
  prototype.release = async function (claim) {
    await release.call(this, claim)
    // It does not say whether Redis was told, but a ring that could not tell it is out of reach.
    if (this.isReachable) pass('redis-released')
  }
}

/** The store calls the driver only while Redis is there: so what is counted was sent. */
async function watchRedisDriver(): Promise<void> {
  const { default: ioredis } = await import('ioredis')
  const prototype = ioredis.Redis.prototype as unknown as Record<'set' | 'eval', RedisCommand>
  for (const [name, point] of [
    ['set', 'redis-claim-sent'],
    ['eval', 'redis-release-sent'],
  ] as const) {
    const command = prototype[name]
    prototype[name] = function (...parameters) {
      if (this.status === 'ready') passOnceSent(point)
      return command.apply(this, parameters)
    }
  }
}

type RedisCommand = (this: { status: string }, ...parameters: unknown[]) => Promise<unknown>

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
