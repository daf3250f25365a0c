import t from 'tap'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { bankEnvironment, startServer } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())

t.test(
  'the bundle starts with all that replicas share',
  { skip: missingService('postgresql', 'redis-server') },
  async (t) => {
    const [postgres, redis] = await Promise.all([startPostgres(t), startRedis(t)])
    const shared = { DATABASE_URL: await postgres.createDatabase(), REDIS_URL: redis.url }
    const server = await startServer(t, await bankEnvironment(t, issuer.url, shared), { form: 'bundled' })
    t.equal(await server.stop(), 0)
    t.equal(server.stderr, '')
  },
)
