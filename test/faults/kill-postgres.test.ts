import t from 'tap'
import { startPostgres } from '../helpers/postgres-server.js'
import { startRedis } from '../helpers/redis-server.js'
import { missingService } from '../helpers/services.js'
import { TestIssuer } from '../helpers/test-issuer.js'
import { killEverywhere } from './kill-everywhere.js'

const skip = missingService('postgresql', 'redis-server')
t.test('with PostgreSQL and Redis nothing is lost or doubled, wherever the server is killed', { skip }, async (t) => {
  const issuer = await TestIssuer.start()
  t.teardown(() => issuer.stop())
  const [postgres, redis] = await Promise.all([startPostgres(t), startRedis(t)])
  await killEverywhere(t, { issuer, postgres, redisUrl: redis.url })
})
