import { LruReplayStore, RedisReplayStore, ReplayRings } from 'stepgate'
import t, { type Test } from 'tap'
import { openRedisClient } from '#src/replay/redis-client.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { startRedis } from '../helpers/redis-server.js'
import { until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { startTcpProxy } from '../helpers/tcp-proxy.js'
import { buildService } from '../plugins/service.js'

const unavailable = { status: 503, problem: 'replay-store-unavailable', headers: { 'retry-after': '5' } }
const used = { status: 401, problem: 'token-already-used' }
const paid = { status: 200, body: { paid: true } }

t.test('a service whose last ring is Redis', { skip: missingService('redis-server') }, async (t) => {
  const redis = await startRedis(t)

  /** A replica of the service: all of them share the Redis, and each remembers what it saw. */
  async function startReplica(t: Test, url = redis.url) {
    const clock = new ManualClock()
    const client = await openRedisClient(url)
    t.teardown(() => client.disconnect())
    const shared = new RedisReplayStore({ client, clock })
    const local = new LruReplayStore({ maxEntries: 100, clock, whenFull: 'forget' })
    const service = await buildService(t, { clock, lastRing: new ReplayRings({ local, shared }) })
    await until('the ring is reachable', () => shared.isReachable)
    const pay = (token: string, headers = {}) => service.call('POST', '/pay', token, headers)
    return { ...service, client, pay, shared }
  }
  t.test('works once among replicas, however many ask at a time', async (t) => {
    const replicas = [await startReplica(t), await startReplica(t)] as const
    const token = replicas[0].mint()
    const asked = Array.from({ length: 20 }, () => replicas.map(({ pay }) => pay(token)))
    const statuses = (await Promise.all(asked.flat())).map(({ status }) => status)
    t.equal(statuses.filter((status) => status === 200).length, 1)
    t.equal(statuses.filter((status) => status === 401).length, 39)
    t.match(await replicas[1].pay(token, { 'idempotency-key': 'a' }), used, 'an Idempotency-Key changes nothing')
  })

  t.test('accepts tokens issued before it started, since what was used before is remembered', async (t) => {
    const one = await startReplica(t)
    const tokens = [one.mint({ iat: one.clock.nowSeconds - 200 }), one.mint({ iat: one.clock.nowSeconds - 200 })]
    t.match(await one.pay(tokens[0] as string), paid)
    const later = await startReplica(t)
    t.match(await later.pay(tokens[0] as string), used)
    t.match(await later.pay(tokens[1] as string), paid)
  })

  t.test('a failure that wrote nothing gives the token back to every replica', async (t) => {
    const [one, other] = [await startReplica(t), await startReplica(t)]
    const token = one.mint()
    t.match(await one.pay(token, { 'x-fails': 'yes' }), { status: 500 })
    t.match(await other.pay(token), paid)
    t.match(await one.pay(token), used)
  })

  t.test('frozen: refused in time, and the token works once it goes on', async (t) => {
    const [one, other] = [await startReplica(t), await startReplica(t)]
    const [spent, early, late] = [one.mint(), one.mint(), one.mint()]
    t.match(await one.pay(spent), paid)
    await redis.freeze()
    const startedMs = performance.now()
    for (const token of [early, late, early]) t.match(await one.pay(token), unavailable)
    t.match(await one.pay(spent), used, 'what this process knows needs no answer')
    t.match(await one.call('GET', '/read', early), { status: 200 }, 'reading goes on')
    const tookMs = performance.now() - startedMs
    t.ok(tookMs < 1500, `all within ${Math.round(tookMs)} ms`)
    redis.thaw()
    for (const { shared } of [one, other]) await until('the ring is reachable', () => shared.isReachable)
    t.match(await other.pay(early), paid, 'neither use was made, and the claim that arrived late was given back')
    t.match(await one.pay(late), paid)
    for (const { pay } of [one, other]) for (const token of [spent, early, late]) t.match(await pay(token), used)
  })

  t.test('down: refused at once, and the token works once it is back', async (t) => {
    const one = await startReplica(t)
    const [spent, token] = [one.mint(), one.mint()]
    t.match(await one.pay(spent), paid)
    await redis.kill()
    await until('the ring noticed', () => !one.shared.isReachable)
    for (let n = 0; n < 3; n += 1) t.match(await one.pay(token), unavailable)
    await redis.start()
    await until('the ring is reachable', () => one.shared.isReachable)
    t.match(await one.pay(token), paid, 'certainly no claim was made')
    const fresh = await startReplica(t)
    t.match(await fresh.pay(spent), used, 'what was claimed before is remembered by who has no memory of its own')
    t.match(await fresh.pay(token), used)
  })

  t.test('an answer that is lost is refused: the token may be used up, and never works twice', async (t) => {
    const proxy = await startTcpProxy(t, redis)
    const [one, other] = [await startReplica(t, proxy.through(redis.url)), await startReplica(t)]
    const token = one.mint()
    const lost = proxy.cutBeforeResponse('PXAT')
    t.match(await one.pay(token), unavailable)
    await lost
    t.equal((await other.client.keys('*')).length > 0, true)
    t.match(await other.pay(token), used, 'the claim was made, and there was no connection to give it back')
    await until('the ring is reachable', () => one.shared.isReachable)
    t.match(await one.pay(token), used)
  })

  t.test('a claim that was cut on its way was never made: the token works', async (t) => {
    const proxy = await startTcpProxy(t, redis)
    const [one, other] = [await startReplica(t, proxy.through(redis.url)), await startReplica(t)]
    const token = one.mint()
    const cut = proxy.cutBeforeRequest('PXAT')
    t.match(await one.pay(token), unavailable)
    await cut
    t.match(await other.pay(token), paid)
  })

  t.test('full: refused rather than forgotten, and the token works when there is room', async (t) => {
    const one = await startReplica(t)
    const token = one.mint()
    await one.client.config('SET', 'maxmemory', '1')
    t.match(await one.pay(token), unavailable)
    await one.client.config('SET', 'maxmemory', '0')
    t.match(await one.pay(token), paid)
  })
})
