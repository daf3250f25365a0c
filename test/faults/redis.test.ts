import t, { type Test } from 'tap'
import { Payer, settlePayments } from '../helpers/payments.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { bankEnvironment, mintFor, type ServerProcess, startServer, until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { startTcpProxy } from '../helpers/tcp-proxy.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

async function readiness({ url }: ServerProcess): Promise<string> {
  const response = await fetch(`${url}/readyz`)
  return `${response.status} ${((await response.json()) as { status: string }).status}`
}

async function untilReady(servers: readonly ServerProcess[], expected = '200 ok'): Promise<void> {
  for (const server of servers) await until(`it is ${expected}`, async () => (await readiness(server)) === expected)
}

/** What the log says about Redis: level, text, and the fault's first line. A slow start may have told of an outage before. */
function toldAboutRedis({ log }: ServerProcess): [level: number, text: string, fault: string | undefined][] {
  const lines = log.filter(({ msg }) => String(msg).startsWith('Redis'))
  return lines.map(({ level, msg, err }) => [
    Number(level),
    String(msg),
    (err as { stack: string } | undefined)?.stack.split('\n')[0],
  ])
}

const outOfReach =
  'Redis is out of reach: the ledger alone makes tokens single-use, and DPoP proofs are remembered per process'

t.test('Redis', { skip: missingService('redis-server', 'openssl') }, async (t) => {
  /** Two replicas on one folder, which share a Redis as well. */
  async function startReplicas(t: Test, changes: Record<string, string>) {
    const environment = await bankEnvironment(t, issuer.url, { LOG_LEVEL: 'info', ...changes })
    const other = { ...environment, PORT: (await bankEnvironment(t, issuer.url)).PORT }
    const servers = await Promise.all([startServer(t, environment), startServer(t, other)])
    return { servers, where: environment.DATA_DIR }
  }

  t.test('while it is frozen or down transfers go on, and a token works once at all replicas', async (t) => {
    const redis = await startRedis(t)
    const { servers, where } = await startReplicas(t, { REDIS_URL: redis.url })
    await untilReady(servers)
    const toldBefore = servers.map((server) => toldAboutRedis(server).length)
    const payer = new Payer(mintFor(issuer))

    /** Each token is given to both replicas at one moment: one of them books. */
    async function race(label: string): Promise<void> {
      const raced = Array.from({ length: 8 }, () => payer.prepare({ keyed: false }))
      const answers = await Promise.all(
        raced.map((payment) => Promise.all(servers.map(({ url }) => payer.send(url, payment)))),
      )
      for (const both of answers) {
        t.strictSame(both.map(({ status }) => status).toSorted(), [201, 401], label)
        t.ok(
          both.every(({ tookMs }) => tookMs < 1500),
          'in time',
        )
      }
    }

    await race('while it is well')
    await redis.freeze()
    await race('while it is frozen')
    await untilReady(servers, '200 degraded')
    redis.thaw()
    await untilReady(servers)
    await redis.kill()
    await untilReady(servers, '200 degraded')
    await race('while it is down')
    await redis.start()
    await untilReady(servers)
    const payments = [...payer.payments]
    await race('when it is back')
    for (const payment of payments) {
      for (const { url } of servers) t.equal((await payer.send(url, payment)).problem, 'token-already-used')
    }
    const keyed = new Payer(mintFor(issuer))
    await Promise.all(servers.map(({ url }) => keyed.pay(url)))
    const books = await settlePayments(t, keyed, { url: servers[0]?.url as string, where })
    t.equal(books.transfers.length, payer.payments.length + keyed.payments.length)
    for (const [index, server] of servers.entries()) {
      await until('the end of the outage is told', () => toldAboutRedis(server).at(-1)?.[0] === 30)
      const told = toldAboutRedis(server).slice(toldBefore[index])
      // A machine that is busy otherwise may add outages, but none is told twice, and none goes on.
      t.ok(told.length >= 4, 'both outages are told')
      t.strictSame(
        told.map(([level, text]) => [level, text]),
        told.map((_, n) => (n % 2 === 0 ? [40, outOfReach] : [30, 'Redis answers again'])),
        'each when it begins and when it ends',
      )
      t.equal(told.at(-1)?.[0], 30)
      t.ok(
        told.some(([, , fault]) => fault?.includes('no answer within 150 ms')),
        'one is that it was frozen',
      )
      t.notMatch(server.stdout, /eyJ/, 'no token in the log')
      t.equal(await server.stop(), 0)
    }
  })

  t.test('a server that starts without it serves, and uses it once it comes', async (t) => {
    const redis = await startRedis(t)
    await redis.stop()
    const { servers, where } = await startReplicas(t, { REDIS_URL: redis.url })
    await untilReady(servers, '200 degraded')
    const payer = new Payer(mintFor(issuer))
    for (const { url } of servers) t.equal((await payer.pay(url)).status, 201)
    await redis.start()
    await untilReady(servers)
    await settlePayments(t, payer, { url: servers[1]?.url as string, where })
    const client = redis.createClient()
    const claims = async (): Promise<number> => (await client.keys('stepgate:jti:*')).length
    const claimsBefore = await claims()
    const [one, other] = servers as [ServerProcess, ServerProcess]
    t.equal((await payer.pay(one.url)).status, 201)
    t.equal(await claims(), claimsBefore + 1, 'the token is claimed there')
    client.disconnect()
    await until('the outage and its end are told', () => toldAboutRedis(other).length >= 2)
    t.match(toldAboutRedis(other), [
      [40, outOfReach, /ECONNREFUSED|ETIMEDOUT/],
      [30, 'Redis answers again'],
    ])
  })

  t.test('TLS: used when its certificate is trusted, and told when it is not', async (t) => {
    const redis = await startRedis(t, { tls: true })
    const trusting = await startServer(
      t,
      await bankEnvironment(t, issuer.url, { REDIS_URL: redis.url, NODE_EXTRA_CA_CERTS: redis.caPath as string }),
    )
    const wary = await startServer(t, await bankEnvironment(t, issuer.url, { REDIS_URL: redis.url }))
    await untilReady([trusting])
    await untilReady([wary], '200 degraded')
    const payer = new Payer(mintFor(issuer))
    for (const { url } of [trusting, wary]) t.equal((await payer.pay(url)).status, 201)
    await until('the outage is told', () => toldAboutRedis(wary).length > 0)
    t.match(toldAboutRedis(wary), [[40, outOfReach, /self-signed certificate|ETIMEDOUT/]])
    t.strictSame([await readiness(trusting), await readiness(wary)], ['200 ok', '200 degraded'])
  })

  t.test('what an operator must know is in the log, without a secret', async (t) => {
    const redis = await startRedis(t)
    const admin = redis.createClient()
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await admin.config('SET', 'requirepass', 'right-secret')
    admin.disconnect()
    const withPassword = (password: string) => redis.url.replace('//', `//:${password}@`)
    const start = async (password: string) =>
      startServer(t, await bankEnvironment(t, issuer.url, { REDIS_URL: withPassword(password), LOG_LEVEL: 'trace' }))
    const [wrong, right] = [await start('wrong-secret'), await start('right-secret')]
    const payer = new Payer(mintFor(issuer))
    await untilReady([right])
    await untilReady([wrong], '200 degraded')
    for (const { url } of [wrong, right]) t.equal((await payer.pay(url)).status, 201)
    await until('both told', () => [wrong, right].every((server) => toldAboutRedis(server).length > 0))
    t.match(toldAboutRedis(wrong), [[40, outOfReach, /WRONGPASS|ETIMEDOUT/]])
    t.match(
      toldAboutRedis(right).find(([, text]) => text.startsWith('Redis: ')),
      [40, /^Redis: maxmemory-policy is allkeys-lru: expected noeviction/, undefined],
    )
    for (const server of [wrong, right]) {
      t.equal(await server.stop(), 0)
      t.notMatch(server.stdout + server.stderr, /(?:right|wrong)-secret|eyJ/)
    }
  })

  t.test('a replica that certainly could not book gives the token back to all', async (t) => {
    const skip = missingService('postgresql')
    if (skip !== false) return void t.pass('no ledger that only one replica reaches', { skip })
    const [redis, postgres] = await Promise.all([startRedis(t), startPostgres(t)])
    const where = await postgres.createDatabase()
    const proxy = await startTcpProxy(t, postgres)
    const shared = { REDIS_URL: redis.url, DATA_DIR: 'unused' }
    const cutOff = await startServer(
      t,
      await bankEnvironment(t, issuer.url, { ...shared, DATABASE_URL: proxy.through(where) }),
    )
    const well = await startServer(t, await bankEnvironment(t, issuer.url, { ...shared, DATABASE_URL: where }))
    await untilReady([cutOff, well])
    const payer = new Payer(mintFor(issuer))
    proxy.cut()
    const refused = payer.prepare({ keyed: false })
    t.match(await payer.send(cutOff.url, refused), { status: 503, problem: 'ledger-unavailable' })
    t.match(await payer.send(well.url, refused), { status: 201 })
    await proxy.heal()
    await untilReady([cutOff])
    t.match(await payer.send(cutOff.url, refused), { status: 401, problem: 'token-already-used' })

    const lost = proxy.cutBeforeResponse('book_transfers')
    const unknown = payer.prepare()
    t.match(await payer.send(cutOff.url, unknown), { status: 503, problem: 'transfer-outcome-unknown' })
    await lost
    const bare = { ...unknown, key: undefined, answers: [] }
    t.match(await payer.send(well.url, bare), { status: 401, problem: 'token-already-used' }, 'its claim stays')
    t.match(await payer.send(well.url, unknown), { status: 201, replayed: true }, 'the key finds what became of it')
    const settled = new Payer(mintFor(issuer))
    await settled.pay(cutOff.url)
    const books = await settlePayments(t, settled, { url: well.url, where })
    t.equal(books.transfers.length, 3)
  })
})
