import t, { type Test } from 'tap'
import { type PostgresServer, startPostgres } from '../helpers/postgres-server.js'
import { type RedisServer, startRedis } from '../helpers/redis-server.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'
import { Bank } from './kill-bank.js'
import { Replicas } from './kill-replicas.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

interface Stores {
  postgres?: PostgresServer
  redis?: RedisServer
}

async function startReplicas(t: Test, count: number, { postgres, redis }: Stores = {}): Promise<Replicas> {
  const bank = await Bank.open({ name: `${count}-${postgres ? 'pg' : 'lite'}`, issuer, postgres, redisUrl: redis?.url })
  t.teardown(() => bank.remove())
  return Replicas.start(t, bank, count)
}

/** Answers that a race may bring besides 201: on a busy machine a request may also be told to come again. */
const losing = ['401 token-already-used', '503 ledger-unavailable']
const waiting = ['409 idempotency-key-in-use', '503 ledger-unavailable']

/** Races tokens across the replicas: without a key each works once, with one whoever is answered is told the same. */
async function expectOnce(t: Test, replicas: Replicas): Promise<void> {
  const unkeyed = await replicas.race(10, 8, { keyed: false })
  t.ok(unkeyed.booked.every((times) => times <= 1) && unkeyed.booked.includes(1), 'without a key a token works once')
  t.strictSame(
    unkeyed.others.filter((one) => !losing.includes(one)),
    [],
  )
  const keyed = await replicas.race(10, 8, { keyed: true })
  t.ok(keyed.booked.includes(8), 'with a key every racer is told')
  t.strictSame(
    keyed.others.filter((one) => !waiting.includes(one)),
    [],
  )
}

/** Restarts one replica after the other while clients go on. */
async function restartInTurn(t: Test, replicas: Replicas): Promise<void> {
  replicas.startLoad()
  for (const port of replicas.ports) {
    await replicas.more(10)
    t.equal(await replicas.stop(port, 'SIGTERM'), 0, 'it ends in order')
    await replicas.more(10)
    await replicas.startAgain(port)
  }
  await replicas.more(20)
  await replicas.settle(t)
}

/** Kills one replica while clients go on. */
async function killOne(t: Test, replicas: Replicas): Promise<void> {
  const [port] = replicas.ports as [number]
  replicas.startLoad()
  await replicas.more(20)
  t.equal(await replicas.stop(port, 'SIGKILL'), null)
  await replicas.more(20)
  await replicas.startAgain(port)
  await replicas.more(20)
  await replicas.settle(t)
}

t.test('two replicas on one SQLite folder', async (t) => {
  const replicas = await startReplicas(t, 2)
  await t.test('tokens raced across them work once', (t) => expectOnce(t, replicas))
  await t.test('restarted in turn under load, they lose and double nothing', (t) => restartInTurn(t, replicas))
  await t.test('when one is killed under load, they lose and double nothing', (t) => killOne(t, replicas))
})

t.test('replicas on PostgreSQL and Redis', { skip: missingService('postgresql', 'redis-server') }, async (t) => {
  const [postgres, redis] = await Promise.all([startPostgres(t), startRedis(t)])

  await t.test('four of them', async (t) => {
    const replicas = await startReplicas(t, 4, { postgres, redis })
    await t.test('tokens raced across them work once', (t) => expectOnce(t, replicas))
    await t.test('restarted in turn under load, they lose and double nothing', (t) => restartInTurn(t, replicas))
  })

  await t.test('two of them', async (t) => {
    const replicas = await startReplicas(t, 2, { postgres, redis })
    await t.test('tokens raced across them work once', (t) => expectOnce(t, replicas))
    await t.test('when one is killed under load, they lose and double nothing', (t) => killOne(t, replicas))

    await t.test('while Redis is away and when it is back, tokens work once', async (t) => {
      replicas.startLoad()
      await replicas.more(20)
      await redis.kill()
      await replicas.more(20)
      await expectOnce(t, replicas)
      await redis.start()
      await replicas.more(20)
      await expectOnce(t, replicas)
      await replicas.settle(t)
    })

    await t.test('a new one knows every token that was used, and takes its share', async (t) => {
      replicas.startLoad()
      const before = replicas.intend({ keyed: false })
      await replicas.make(before)
      const port = await replicas.add()
      t.equal(await replicas.repeatAt(port, before), 401)
      for (const other of replicas.ports) if (other !== port) t.equal(await replicas.stop(other, 'SIGTERM'), 0)
      await replicas.more(20)
      await replicas.settle(t)
    })
  })
})
