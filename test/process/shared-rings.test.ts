import t from 'tap'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { bankEnvironment, mintFor, startServer, until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

t.test(
  'the server as it ships, on PostgreSQL and Redis',
  { skip: missingService('postgresql', 'redis-server') },
  async (t) => {
    const issuer = await TestIssuer.start()
    t.teardown(() => issuer.stop())
    const postgres = await startPostgres(t)
    const redis = await startRedis(t)
    const tokens = mintFor(issuer)
    for (const WORKERS of ['1', '2']) {
      const environment = await bankEnvironment(t, issuer.url, {
        DATABASE_URL: await postgres.createDatabase(),
        REDIS_URL: redis.url,
        WORKERS,
      })
      const server = await startServer(t, environment, { form: 'bundled' })
      const post = (token: string) =>
        fetch(`${server.url}/transfers`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify(transferBody()),
        })
      await until('every ring answers', async () =>
        (await (await fetch(`${server.url}/readyz`)).text()).includes('"ok"'),
      )
      const token = tokens.transfer()
      const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await post(token)).status))
      t.strictSame(statuses.toSorted(), [201, ...Array(19).fill(401)], `${WORKERS} processes: one token works once`)
      t.equal(await server.stop(), 0)
      t.equal(server.stderr, '')
    }
    const client = redis.createClient()
    t.teardown(() => client.disconnect())
    t.equal((await client.keys('stepgate:jti:*')).length, 2, 'a claim for each token')
  },
)
