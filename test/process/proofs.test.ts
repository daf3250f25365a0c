import t, { type Test } from 'tap'
import { ProofMaker } from '../helpers/dpop.js'
import { startRedis } from '../helpers/redis-server.js'
import { bankEnvironment, mintFor, type ServerProcess, startServer, until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { publicUrl } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const tokens = mintFor(issuer)
const client = new ProofMaker({
  get nowSeconds() {
    return Math.floor(Date.now() / 1000)
  },
})
const token = tokens.read(client.binding)
const prove = (nonce?: string | null) => client.headers({ method: 'GET', path: '/accounts', token }, { nonce })

function read({ url }: ServerProcess, headers: Record<string, string>): Promise<Response> {
  return fetch(`${url}/accounts`, { headers })
}

async function readiness({ url }: ServerProcess): Promise<string> {
  return ((await (await fetch(`${url}/readyz`)).json()) as { status: string }).status
}

/** Two replicas on one folder. */
async function startReplicas(t: Test, changes: Record<string, string>): Promise<[ServerProcess, ServerProcess]> {
  const environment = await bankEnvironment(t, issuer.url, { PUBLIC_URL: publicUrl, LOG_LEVEL: 'info', ...changes })
  const other = { ...environment, PORT: (await bankEnvironment(t, issuer.url)).PORT }
  const servers = await Promise.all([startServer(t, environment), startServer(t, other)])
  for (const server of servers) await until('it is ready', async () => (await readiness(server)) === 'ok')
  return servers
}

t.test('with Redis a proof works once at all replicas', { skip: missingService('redis-server') }, async (t) => {
  const redis = await startRedis(t)
  const [one, other] = await startReplicas(t, { REDIS_URL: redis.url })
  const shared = prove()
  const both = await Promise.all([one, other].map(async (server) => (await read(server, shared)).status))
  t.strictSame(both.toSorted(), [200, 401])

  await redis.kill()
  for (const server of [one, other]) {
    const headers = prove()
    t.equal((await read(server, headers)).status, 200, 'while Redis is away requests go on')
    t.equal((await read(server, headers)).status, 401, 'and each process remembers its own proofs')
    t.equal((await read(server, shared)).status, 401, 'such as those from before, wherever they were refused')
  }
  for (const server of [one, other]) t.equal(await server.stop(), 0)
})

t.test('replicas on one ledger take each other’s nonces', async (t) => {
  const [one, other] = await startReplicas(t, { DPOP_NONCE: 'on' })
  const refused = await read(one, prove())
  t.equal(refused.status, 401)
  const nonce = refused.headers.get('dpop-nonce')
  for (const server of [one, other]) t.equal((await read(server, prove(nonce))).status, 200)
})

t.test('workers without Redis say at the start that each remembers proofs for itself', async (t) => {
  const environment = await bankEnvironment(t, issuer.url, { WORKERS: '2', LOG_LEVEL: 'info' })
  const server = await startServer(t, environment)
  const told = () => server.log.filter(({ msg }) => String(msg).includes('DPoP proofs are remembered per process'))
  await until('the warning is there', () => told().length > 0)
  t.equal(await server.stop(), 0)
  t.strictSame(
    told().map(({ level }) => level),
    [40],
    'once',
  )
})
