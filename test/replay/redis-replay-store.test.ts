import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openRedisClient } from '#src/replay/redis-client.js'
import { RedisReplayStore } from '#src/replay/redis-replay-store.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { type RedisServer, startRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { startTcpProxy } from '../helpers/tcp-proxy.js'
import { claim } from './claim.js'

const keyPrefix = 'stepgate:jti:'
const soonMs = (): number => Date.now() + 60_000

/** A store with a client of its own, and all that it told: faults by their message, `ok` when one was over, and warnings. */
async function openStore(t: Test, url: string, clock = new ManualClock()) {
  const client = await openRedisClient(url)
  t.teardown(() => client.disconnect())
  const told: string[] = []
  const warnings: string[] = []
  const store = new RedisReplayStore({
    client,
    clock,
    onChange: (fault) => told.push(fault?.message ?? 'ok'),
    onWarning: (warning) => warnings.push(warning),
  })
  return { client, clock, store, told, warnings }
}

async function openReadyStore(t: Test, url: string) {
  const opened = await openStore(t, url)
  await until('the ring is reachable', () => opened.store.isReachable)
  return opened
}

/** Runs something and resolves to what it resolved to, and the milliseconds that it took. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; tookMs: number }> {
  const startedMs = performance.now()
  const result = await work()
  return { result, tookMs: performance.now() - startedMs }
}

/** Consumes so many claims one after the other, all of which must be unreachable. Resolves to the median time of one. */
async function medianOfUnreachable(t: Test, store: RedisReplayStore, count: number): Promise<number> {
  const tookMs: number[] = []
  for (let n = 0; n < count; n += 1) {
    const answer = await timed(() => store.consume(claim(`unreachable ${n}`, soonMs())))
    t.equal(answer.result, 'unreachable')
    tookMs.push(answer.tookMs)
  }
  return median(tookMs)
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] as number
}

async function asAdmin<T>(redis: RedisServer, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = redis.createClient()
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

t.test('Redis', { skip: missingService('redis-server') }, async (t) => {
  const redis = await startRedis(t)

  t.test('a key is claimed once among replicas, however many ask at a time', async (t) => {
    const replicas = [await openReadyStore(t, redis.url), await openReadyStore(t, redis.url)]
    t.strictSame(
      replicas.map(({ store }) => store.retention),
      ['shared', 'shared'],
    )
    const expiresAtMs = soonMs()
    const asked = Array.from({ length: 50 }, () => replicas.map(({ store }) => store.consume(claim('a', expiresAtMs))))
    const outcomes = await Promise.all(asked.flat())
    t.equal(outcomes.filter((outcome) => outcome === 'consumed').length, 1)
    t.equal(outcomes.filter((outcome) => outcome === 'replayed').length, 99)
  })

  t.test('a claim expires when it was asked to, in the millisecond, and later ones do not lengthen it', async (t) => {
    const { client, store } = await openReadyStore(t, redis.url)
    const own = claim('b', 1_999_999_999_123)
    await store.consume(own)
    await store.consume(claim('b', 2_999_999_999_999))
    t.equal(await client.pexpiretime(`${keyPrefix}b`), 1_999_999_999_123)
    t.equal(await client.get(`${keyPrefix}b`), own.id)
  })

  t.test('stores with prefixes of their own share nothing', async (t) => {
    const { client, clock, store } = await openReadyStore(t, redis.url)
    // The client is ready already, so nothing but the store itself makes it look.
    const other = new RedisReplayStore({ client, clock, prefix: 'other:' })
    await until('the other ring is reachable', () => other.isReachable)
    t.equal(await store.consume(claim('c', soonMs())), 'consumed')
    t.equal(await other.consume(claim('c', soonMs())), 'consumed')
    t.equal(await client.exists('other:c'), 1)
  })

  t.test('a claim is given back by its own id, and another attempt’s claim stays', async (t) => {
    const { client, store } = await openReadyStore(t, redis.url)
    const own = claim('d', soonMs())
    await store.consume(own)
    await store.release(claim('d', soonMs()))
    t.equal(await client.get(`${keyPrefix}d`), own.id)
    await store.release(own)
    t.equal(await client.exists(`${keyPrefix}d`), 0)
    const next = claim('d', soonMs())
    t.equal(await store.consume(next), 'consumed')
    await store.release(own)
    t.equal(await client.get(`${keyPrefix}d`), next.id)
  })

  t.test('frozen: answered within 200 ms, then at once, and back by itself', async (t) => {
    const { client, store, told } = await openReadyStore(t, redis.url)
    const others = await Promise.all(Array.from({ length: 4 }, () => openReadyStore(t, redis.url)))
    await redis.freeze()
    const late = claim('e', soonMs())
    const first = await Promise.all(
      [{ store }, ...others].map(({ store: one }, n) =>
        timed(() => one.consume(n === 0 ? late : claim('p', soonMs()))),
      ),
    )
    for (const { result, tookMs } of first) {
      t.equal(result, 'unreachable')
      t.ok(tookMs < 1000, `after ${Math.round(tookMs)} ms`)
    }
    t.equal(store.isReachable, false)
    const firstMs = median(first.map(({ tookMs }) => tookMs))
    t.ok(firstMs < 200, `median ${Math.round(firstMs)} ms`)
    const nextMs = await medianOfUnreachable(t, store, 21)
    t.ok(nextMs < 5, `then a median of ${nextMs} ms`)
    const release = await timed(() => store.release(late))
    t.ok(release.tookMs < 1000, `given up after ${Math.round(release.tookMs)} ms`)
    redis.thaw()
    await until('the ring is reachable again', () => store.isReachable)
    t.equal(told.at(-1), 'ok')
    t.equal(told.filter((message) => /no answer within 150 ms/.test(message)).length, 1, 'told once')
    t.equal(await client.exists(`${keyPrefix}e`), 0, 'the claim that came late was followed by its return')
    t.equal(await store.consume(claim('e', soonMs())), 'consumed')
  })

  t.test('a long freeze makes a new connection', async (t) => {
    const { client, store } = await openReadyStore(t, redis.url)
    const own = claim('g', soonMs())
    t.equal(await store.consume(own), 'consumed')
    await redis.freeze()
    const closed = new Promise((resolve) => client.once('close', resolve))
    t.equal(await store.consume(claim('h', soonMs())), 'unreachable')
    await closed
    redis.thaw()
    await until('the ring is reachable again', () => store.isReachable)
    t.equal(await store.consume(claim('g', soonMs())), 'replayed')
  })

  t.test('killed: answered at once, and every claim is there when it is back', async (t) => {
    const { store, told } = await openReadyStore(t, redis.url)
    t.equal(await store.consume(claim('i', soonMs())), 'consumed')
    await redis.kill()
    await until('the ring noticed', () => !store.isReachable)
    const medianMs = await medianOfUnreachable(t, store, 51)
    t.ok(medianMs < 5, `median ${medianMs} ms`)
    await store.release(claim('i', soonMs()))
    await redis.start()
    await until('the ring is reachable again', () => store.isReachable)
    t.equal(await store.consume(claim('i', soonMs())), 'replayed', 'the file that it appends to has the claim')
    t.equal(await store.consume(claim('unreachable 0', soonMs())), 'consumed', 'nothing was sent late')
    t.equal(told.filter((message) => message === 'ok').length, 1)
    t.equal(told.length, 2, 'one outage, told when it began and when it ended')
  })

  t.test('out of memory: claims nothing that it could forget, says why, and works again with room', async (t) => {
    const { client, store, told } = await openReadyStore(t, redis.url)
    await client.config('SET', 'maxmemory', '1')
    t.equal(await store.consume(claim('j', soonMs())), 'unreachable')
    t.equal(store.isReachable, false)
    t.match(told, [/^OOM command not allowed/])
    await client.config('SET', 'maxmemory', '0')
    t.equal(await store.consume(claim('j', soonMs())), 'consumed')
    t.equal(store.isReachable, true)
    t.equal(told.at(-1), 'ok')
  })

  t.test('a clock that is more than 30 s ahead is told, and the ring not used until it is right', async (t) => {
    const slow = new ManualClock(Date.now() - 40_000)
    const { client, store, told } = await openStore(t, redis.url, slow)
    await until('the fault is told', () => told.length > 0)
    t.match(told, [/^its clock is \d+ s ahead of this one$/])
    t.equal(await store.consume(claim('k', soonMs())), 'unreachable')
    t.equal(await client.exists(`${keyPrefix}k`), 0)
    slow.advance(20_000)
    await until('the ring is reachable', () => store.isReachable)
    t.equal(await store.consume(claim('k', soonMs())), 'consumed')
    const fast = await openStore(t, redis.url, new ManualClock(Date.now() + 3_600_000))
    await until('a clock behind is none the worse', () => fast.store.isReachable)
  })

  t.test('an eviction policy that forgets claims is told by name, and the ring used', async (t) => {
    await asAdmin(redis, (client) => client.config('SET', 'maxmemory-policy', 'allkeys-lru'))
    const { store, warnings } = await openReadyStore(t, redis.url)
    t.strictSame(warnings, [
      'maxmemory-policy is allkeys-lru: expected noeviction, as an evicted claim lets its token pass again',
    ])
    t.equal(await store.consume(claim('l', soonMs())), 'consumed')
    await asAdmin(redis, (client) => client.config('SET', 'maxmemory-policy', 'noeviction'))
    t.strictSame((await openReadyStore(t, redis.url)).warnings, [])
  })

  t.test('a user who may not read INFO is told so, and one who may not do the rest is not used', async (t) => {
    t.intercept(console, 'warn', { value: () => undefined })
    await asAdmin(redis, async (client) => {
      await client.acl('SETUSER', 'modest', 'on', '>one-secret', '~*', '+@all', '-info')
      await client.acl('SETUSER', 'poor', 'on', '>one-secret', '~*', '+@all', '-set')
    })
    const as = (user: string) => redis.url.replace('//', `//${user}:one-secret@`)
    const modest = await openReadyStore(t, as('modest'))
    t.match(modest.warnings, [/^maxmemory-policy is not known \(INFO is not permitted\)/])
    t.equal(await modest.store.consume(claim('m', soonMs())), 'consumed')
    const poor = await openReadyStore(t, as('poor'))
    t.equal(await poor.store.consume(claim('n', soonMs())), 'unreachable')
    t.match(poor.told, [/^NOPERM/])
    t.notMatch([...modest.told, ...modest.warnings, ...poor.told], /one-secret/)
  })

  t.test('a wrong password is told, without it, for as long as it is wrong', async (t) => {
    const { store, told } = await openStore(t, redis.url.replace('//', '//nobody:other-secret@'))
    await until('the fault is told', () => told.length > 0)
    t.equal(await store.consume(claim('o', soonMs())), 'unreachable')
    t.match(told, [/^WRONGPASS/])
    t.notMatch(told, /other-secret/)
    await asAdmin(redis, (client) => client.acl('SETUSER', 'nobody', 'on', '>other-secret', '~*', '+@all'))
    await until('the ring is reachable', () => store.isReachable)
  })

  t.test('a connection that breaks while the server is looked at leaves it unused until the next look', async (t) => {
    const proxy = await startTcpProxy(t, redis)
    const broken = proxy.cutBeforeRequest('memory')
    const { store, told } = await openStore(t, proxy.through(redis.url))
    await broken
    await until('the fault is told', () => told.length > 0)
    t.equal(store.isReachable, false)
    await until('the ring is reachable', () => store.isReachable)
    t.equal(told.at(-1), 'ok')
  })
})

t.test('a server that does not tell its eviction policy is used, with a warning', async (t) => {
  const seconds = Math.floor(Date.now() / 1000)
  const answers = { status: 'ready', time: async () => [seconds, 0], info: async () => '# Memory\r\n' }
  const client = Object.assign(new EventEmitter(), answers) as unknown as Redis
  const warnings: string[] = []
  const store = new RedisReplayStore({ client, clock: new ManualClock(), onWarning: (text) => warnings.push(text) })
  await until('the ring is reachable', () => store.isReachable)
  t.match(warnings, [/^maxmemory-policy is not known/])
})
