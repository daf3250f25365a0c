import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { Client } from 'pg'
import t from 'tap'
import { refusesConnections } from '../helpers/half-request.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { type RedisServer, startRedis } from '../helpers/redis-server.js'
import { missingService } from '../helpers/services.js'

/** Fails when there is no answer in time. The types of pg know this setting only for a whole client. */
const timedQuery = { text: 'SELECT', query_timeout: 100 }

async function withClient<Result>(redis: RedisServer, use: (client: Redis) => Promise<Result>): Promise<Result> {
  const client = redis.createClient()
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

t.test('PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t, { settings: { max_connections: '20' } })
  const url = await postgres.createDatabase()
  await postgres.query(url, 'CREATE TABLE kept (n integer)')

  t.test('keeps its defaults but for the settings given, and databases apart', async (t) => {
    const other = await postgres.createDatabase()
    const read = async (name: string): Promise<unknown> => postgres.query(url, `SHOW ${name}`)
    t.strictSame(await read('fsync'), [{ fsync: 'on' }])
    t.strictSame(await read('synchronous_commit'), [{ synchronous_commit: 'on' }])
    t.strictSame(await read('max_connections'), [{ max_connections: '20' }])
    await t.rejects(postgres.query(other, 'SELECT FROM kept'), { code: '42P01' })
  })

  t.test('has every committed row after a crash, and none that was not', async (t) => {
    await postgres.query(url, 'INSERT INTO kept VALUES (1)')
    const open = new Client({ connectionString: url })
    open.on('error', () => undefined)
    await open.connect()
    await open.query('BEGIN; INSERT INTO kept VALUES (2)')
    await postgres.kill()
    await t.rejects(open.query('COMMIT'))
    t.ok(await refusesConnections(url))
    await postgres.start()
    t.strictSame(await postgres.query(url, 'SELECT n FROM kept'), [{ n: 1 }])
    t.match(postgres.output, 'database system was not properly shut down')
    await postgres.restart()
    t.strictSame(await postgres.query(url, 'SELECT n FROM kept'), [{ n: 1 }])
  })

  t.test('answers nobody while it is frozen, and everybody afterwards', async (t) => {
    const patient = new Client({ connectionString: url })
    const hasty = new Client({ connectionString: url })
    await Promise.all([patient.connect(), hasty.connect()])
    await postgres.freeze()
    const answer = patient.query('SELECT 1 AS n')
    const newcomer = postgres.query(url, 'SELECT 2 AS n')
    await t.rejects(hasty.query(timedQuery), { message: 'Query read timeout' })
    postgres.thaw()
    t.strictSame((await answer).rows, [{ n: 1 }])
    t.strictSame(await newcomer, [{ n: 2 }])
    await Promise.all([patient.end(), hasty.end()])
  })

  t.test('leaves nothing behind, be it killed or frozen', async (t) => {
    for (const end of ['kill', 'freeze'] as const) {
      const servers: { pid: number; folder: string }[] = []
      await t.test(end, async (t) => {
        const server = await startPostgres(t)
        servers.push({ pid: server.pid, folder: server.folder })
        await server[end]()
      })
      for (const { pid, folder } of servers) {
        t.notOk(existsSync(`/proc/${pid}`))
        t.notOk(existsSync(folder))
        const creators = readFileSync('/proc/sysvipc/shm', 'utf8')
          .split('\n')
          .map((line) => line.trim().split(/ +/)[4])
        t.equal(creators[0], 'cpid')
        t.notOk(creators.includes(String(pid)))
      }
    }
  })
})

t.test('Redis', { skip: missingService('redis-server', 'openssl') }, async (t) => {
  t.test('has every acknowledged write after a crash', async (t) => {
    const redis = await startRedis(t)
    const client = redis.createClient()
    await client.set('key', 'kept')
    await redis.kill()
    await t.rejects(client.get('key'))
    await redis.start()
    t.equal(await withClient(redis, (client) => client.get('key')), 'kept')
    await redis.restart()
    t.equal(await withClient(redis, (client) => client.get('key')), 'kept')
  })

  t.test('answers nobody while it is frozen, and everybody afterwards', async (t) => {
    const redis = await startRedis(t, { arguments: ['--maxmemory', '64mb'] })
    await withClient(redis, async (patient) => {
      t.strictSame(await patient.config('GET', 'maxmemory'), ['maxmemory', String(64 * 1024 * 1024)])
      const hasty = patient.duplicate()
      await hasty.connect()
      hasty.options.commandTimeout = 100
      await redis.freeze()
      const answer = patient.ping()
      await t.rejects(hasty.ping(), { message: 'Command timed out' })
      redis.thaw()
      t.equal(await answer, 'PONG')
      hasty.disconnect()
    })
  })

  t.test('speaks TLS, to those who trust its certificate', async (t) => {
    const redis = await startRedis(t, { tls: true })
    t.match(redis.url, /^rediss:/)
    t.equal(await withClient(redis, (client) => client.ping()), 'PONG')
    const script =
      "import { connect } from 'node:tls'; connect(Number(process.argv[1]), '127.0.0.1', () => process.exit(0))"
    const runs = (environment: Record<string, string>): boolean =>
      spawnSync(process.execPath, ['--input-type=module', '--eval', script, String(redis.port)], {
        env: { ...environment },
        stdio: 'ignore',
      }).status === 0
    t.ok(runs({ NODE_EXTRA_CA_CERTS: redis.caPath as string }))
    t.notOk(runs({}))
  })
})
