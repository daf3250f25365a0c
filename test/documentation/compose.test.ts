import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { readConfig } from 'stepgate'
import t, { type Test } from 'tap'
import { demoUsers } from '../../examples/authorization-server/demo-users.js'
import { readAccounts } from '../../examples/demo/accounts.js'
import { createBankClient } from '../../examples/demo/bank-client.js'
import { playStory } from '../../examples/demo/play-story.js'
import { demoStepUp, inPackage, readDemoSettings } from '../../examples/demo/settings.js'
import {
  type ComposeService,
  commandOf,
  layOutImage,
  readComposeFile,
  readDockerfile,
} from '../helpers/compose-file.js'
import { type ContainerProcess, commandLine, RedisWithPassword, startProcess } from '../helpers/compose-process.js'
import { type ExternalServer, findLastingPort } from '../helpers/external-server.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { until } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'

const { services, volumes } = readComposeFile()
const stages = readDockerfile()
const nginxConfig = readFileSync(inPackage('examples/compose/nginx.conf'), 'utf8')
const replicas = Object.values(services).filter(({ build }) => build?.target === 'api')
const api = replicas[0] as ComposeService
const run = promisify(execFile)

function serviceOf(name: string): ComposeService {
  const service = services[name]
  if (service === undefined) throw new Error(`compose.yaml has no service ${name}`)
  return service
}

const issuer = serviceOf('authorization-server')
const [alice, bob] = demoUsers
if (alice === undefined || bob === undefined) throw new Error('the demo has two users')

t.test('only the two ports of the proxy are published, on loopback', async (t) => {
  const published = Object.entries(services).flatMap(([name, { ports }]) => ports.map((port) => `${name} ${port}`))
  t.strictSame(published, ['proxy 127.0.0.1:3000:3000', 'proxy 127.0.0.1:4000:4000'])
  for (const [name, service] of Object.entries(services)) {
    const inside = service === issuer || replicas.includes(service)
    t.equal(service.network_mode, inside ? 'service:proxy' : undefined, name)
    t.notOk('privileged' in service || 'cap_add' in service, `${name} has no more rights than usual`)
  }
})

t.test('the replicas differ in nothing but PORT, and the proxy knows each', async (t) => {
  t.ok(replicas.length >= 2)
  const withoutPort = (service: ComposeService) => ({ ...service, environment: { ...service.environment, PORT: '' } })
  for (const replica of replicas) t.strictSame(withoutPort(replica), withoutPort(api))
  const upstreams = [...nginxConfig.matchAll(/^ +server 127\.0\.0\.1:(\d+)/gm)].map(([, port]) => port)
  t.strictSame(
    upstreams,
    [...replicas, issuer].map(({ environment }) => environment['PORT']),
  )
  t.match(nginxConfig, /^ +proxy_next_upstream off;$/m, 'no transfer is sent twice')
})

t.test('every replica is configured without a fault, for the addresses that the story uses', async (t) => {
  const { apiUrl, issuer: issuerUrl } = readDemoSettings({})
  for (const { environment } of replicas) {
    const read = readConfig(environment)
    if ('faults' in read) throw new Error(read.faults.join('\n'))
    t.strictSame(read.warnings, [])
    t.match(read.config, {
      ...{ PUBLIC_URL: apiUrl, AUDIENCE: apiUrl, ISSUER: issuerUrl, HOST: '127.0.0.1' },
      ...{ STEP_UP_ACR_VALUES: [demoStepUp.acrValues], STEP_UP_MAX_AGE: demoStepUp.maxAgeSeconds },
    })
  }
  t.match(issuer.environment, { ISSUER: issuerUrl, RESOURCE: apiUrl })
  t.notOk('depends_on' in api, 'the API waits for nothing')
})

t.test(
  'PostgreSQL and Redis keep their data, are who the replicas ask for, and tell whether they are well',
  async (t) => {
    const [postgres, redis] = [serviceOf('postgres'), serviceOf('redis')]
    const database = new URL(api.environment['DATABASE_URL'] as string)
    t.strictSame(postgres.environment, {
      POSTGRES_USER: database.username,
      POSTGRES_DB: database.pathname.slice(1),
      POSTGRES_PASSWORD: database.password,
    })
    const command = redis.command.join(' ')
    t.match(command, /^redis-server .*--appendonly yes .*--maxmemory-policy noeviction/)
    t.match(command, `--requirepass ${new URL(api.environment['REDIS_URL'] as string).password}`)
    for (const { volumes: mounts, healthcheck } of [postgres, redis]) {
      t.ok(mounts.some((mount) => (mount.split(':')[0] as string) in volumes))
      t.ok(healthcheck)
    }
  },
)

t.test('the images run as no one special, and the API’s has production packages only', async (t) => {
  const ignored = readFileSync(inPackage('.dockerignore'), 'utf8')
  const rest = (name: string, wanted: string) =>
    (stages.get(name) ?? []).filter(({ instruction }) => instruction === wanted).map((line) => line.rest)
  for (const target of ['api', 'authorization-server']) t.strictSame(rest(target, 'USER'), ['node'], target)
  t.strictSame(rest('dependencies', 'RUN'), ['npm ci --omit=dev'])
  t.match(rest('api', 'COPY').join('\n'), '--from=dependencies /app/node_modules')
  t.notMatch(rest('api', 'COPY').join('\n'), /--from=build \/app\/(?!dist )/)
  t.notMatch(rest('authorization-server', 'COPY').join('\n'), 'node_modules')
  const { scripts } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as { scripts: { start: string } }
  t.equal(commandOf(stages.get('api') ?? []).join(' '), scripts.start)
  const kept = [...ignored.matchAll(/^!(.+)$/gm)].map(([, name]) => name as string)
  for (const name of kept) t.ok(existsSync(inPackage(name)), name)
  for (const name of ['package.json', 'package-lock.json', 'src', 'test', 'examples', 'scripts', 'bench']) {
    t.ok(kept.includes(name), `${name} is there to build from`)
  }
})

/** Gives every port and host of the file one of this machine: in the file's values and in nginx.conf, and nowhere else. */
async function movePorts(fixed: Readonly<Record<string, string>>): Promise<(text: string) => string> {
  const moved = new Map(Object.entries(fixed))
  const { apiUrl, issuer: issuerUrl } = readDemoSettings({})
  const listening = [...replicas, issuer].map(({ environment }) => environment['PORT'] as string)
  for (const port of [new URL(apiUrl).port, new URL(issuerUrl).port, ...listening]) {
    let free: string
    do free = String(await findLastingPort())
    while ([...moved.values()].some((taken) => taken.endsWith(free)))
    moved.set(port, free)
  }
  const names = new RegExp(`\\b(?:${[...moved.keys()].join('|')})\\b`, 'g')
  return (text) => text.replaceAll(names, (name) => moved.get(name) as string)
}

/** The process of a service whose image is built here, in a folder laid out like its image. */
function containerOf(t: Test, service: ComposeService, move: (text: string) => string): ContainerProcess {
  const stage = stages.get(service.build?.target ?? '') ?? []
  const environment = Object.entries(service.environment).map(([name, value]) => [name, move(value)])
  return {
    folder: layOutImage(t, stage, service.volumes),
    environment: Object.fromEntries(environment),
    command: service.command.length > 0 ? service.command : commandOf(stage),
  }
}

/** Whether the health check of a container, run beside it, is satisfied. */
async function isHealthy({ healthcheck }: ComposeService, container: ContainerProcess): Promise<boolean> {
  const [, ...command] = healthcheck?.test ?? []
  const [program, ...parameters] = commandLine({ ...container, command })
  return run(program as string, parameters).then(
    () => true,
    () => false,
  )
}

const needed = missingService('nginx', 'postgresql', 'redis-server')
t.test('the file’s own commands and environments play the story', { skip: needed }, async (t) => {
  const postgres = await startPostgres(t)
  const { username, password, pathname } = new URL(api.environment['DATABASE_URL'] as string)
  await postgres.query(postgres.url(), `create role ${username} login password '${password}'`)
  await postgres.query(postgres.url(), `create database ${pathname.slice(1)} owner ${username}`)
  await postgres.stop()
  const [, ...redisArguments] = serviceOf('redis').command
  const redis = new RedisWithPassword(await findLastingPort(), { arguments: redisArguments })
  t.teardown(() => redis.remove())
  const move = await movePorts({
    'postgres:5432': `127.0.0.1:${postgres.port}`,
    'redis:6379': `127.0.0.1:${redis.port}`,
  })
  const apiUrl = move(api.environment['PUBLIC_URL'] as string)
  const issuerUrl = move(issuer.environment['ISSUER'] as string)

  const build = stages.get('build')?.findLast(({ instruction }) => instruction === 'RUN')?.rest
  t.equal(build, 'npm run build:all && node examples/compose/bundle.mjs', 'the first was done before this test')
  await run(process.execPath, ['examples/compose/bundle.mjs'], { cwd: inPackage('.') })

  const start = (container: ContainerProcess) => startProcess(t, Number(container.environment['PORT']), container)
  const folder = t.testdir()
  writeFileSync(join(folder, 'nginx.conf'), move(nginxConfig))
  const foreground = `daemon off; pid ${join(folder, 'nginx.pid')};`
  const nginx = ['nginx', '-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf'), '-g', foreground]
  await startProcess(t, Number(new URL(apiUrl).port), { folder, environment: {}, command: nginx })
  await start(containerOf(t, issuer, move))
  const containers = replicas.map((replica) => containerOf(t, replica, move))
  const servers: ExternalServer[] = []
  for (const container of containers) servers.push(await start(container))
  const health = () => Promise.all(containers.map((container) => isHealthy(api, container)))

  await t.test('the API starts without PostgreSQL and Redis, and is healthy once they are there', async (t) => {
    t.equal((await fetch(`${apiUrl}/livez`)).status, 200)
    t.strictSame(
      await health(),
      replicas.map(() => false),
    )
    await postgres.start()
    await redis.start()
    await until('every replica is healthy', async () => (await health()).every((healthy) => healthy))
    await until('Redis is used as well', async () => {
      const answers = servers.map(async ({ port }) => (await fetch(`http://127.0.0.1:${port}/readyz`)).text())
      return (await Promise.all(answers)).every((text) => text === '{"status":"ok"}')
    })
  })

  await t.test('the story goes as told, through the proxy', async (t) => {
    await t.resolves(playStory({ apiUrl, issuer: issuerUrl, person: alice, stepUp: demoStepUp }, () => undefined))
    const client = new Redis(move(api.environment['REDIS_URL'] as string))
    t.teardown(() => client.disconnect())
    t.equal(await client.dbsize(), 1, 'Redis knows the token that was used')
  })

  await t.test('a token that was used at one replica is refused by every other one', async (t) => {
    const bank = await createBankClient({ apiUrl, issuer: issuerUrl, person: bob, print: () => undefined })
    const { accessToken } = await bank.requestToken({ scope: 'openid transfer:funds' })
    const pay = (origin: string) =>
      fetch(`${origin}/transfers`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${accessToken}`,
          'content-type': 'application/json',
          'idempotency-key': randomUUID(),
        },
        body: JSON.stringify({
          debtorAccount: { iban: 'NL91ABNA0417164300' },
          creditorAccount: { iban: 'DE89370400440532013000' },
          instructedAmount: { currency: 'EUR', amount: '10.00' },
        }),
      })
    const [first, ...others] = servers.map(({ port }) => `http://127.0.0.1:${port}`)
    t.equal((await pay(first as string)).status, 201)
    for (const origin of [...others, apiUrl, first as string]) {
      const refused = await pay(origin)
      t.equal(refused.status, 401)
      t.match(refused.headers.get('www-authenticate'), 'error_description="The access token was already used"')
    }
    const { accessToken: reading } = await bank.requestToken({ scope: 'openid read:accounts' })
    t.match(await readAccounts(bank, reading), [{ balanceCents: 119_050n }], 'money moved once')
  })

  await t.test('a request is sent to one replica only, even to one that is down', async (t) => {
    const post = async () => (await fetch(`${apiUrl}/transfers`, { method: 'POST' })).status
    const both = [await post(), await post()]
    t.strictSame(both, [401, 401])
    await until('both replicas answered', () => servers.every(({ output }) => output.includes('request ended')))
    await servers[1]?.kill()
    const statuses = [await post(), await post(), await post()]
    t.strictSame([...new Set(statuses)].toSorted(), [401, 502], 'what was lost is told so, and not sent again')
    await servers[1]?.start()
    await until('the replica is healthy again', async () => (await health()).every((healthy) => healthy))
  })
})
