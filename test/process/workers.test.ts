import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { beginTransfer, refusesConnections } from '../helpers/half-request.js'
import {
  bankEnvironment,
  findFreePort,
  mintFor,
  runServer,
  ServerProcess,
  startServer,
  until,
} from '../helpers/server-process.js'
import { transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const tokens = mintFor(issuer)

interface Workers {
  admin: string
  environment: Record<string, string>
  server: ServerProcess
  /** Ids of the workers that were seen answering, in the order in which they were. */
  workerIds(): number[]
}

/** Ids of the workers whose answers stand in the log, in the order in which they were first seen. */
function findWorkerIds({ log }: ServerProcess): number[] {
  return [...new Set(log.filter(({ msg }) => msg === 'request ended').map(({ pid }) => Number(pid)))]
}

/** Waits until both workers have answered: only then has the primary heard that they listen. */
async function untilBothAnswered(server: ServerProcess): Promise<void> {
  await until('both workers answered', async () => {
    await read(server.url)
    return findWorkerIds(server).length === 2
  })
}

async function startWorkers(t: Test): Promise<Workers> {
  const changes = { WORKERS: '2', LOG_LEVEL: 'info', ADMIN_PORT: String(await findFreePort()) }
  const environment = await bankEnvironment(t, issuer.url, changes)
  const server = await startServer(t, environment, { ownGroup: true })
  const workerIds = () => findWorkerIds(server)
  t.teardown(() => {
    for (const id of workerIds()) if (isAlive(id)) process.kill(id, 'SIGKILL')
  })
  await untilBothAnswered(server)
  const admin = `http://127.0.0.1:${environment['ADMIN_PORT']}`
  await until('the primary answers as well', async () => !(await refusesConnections(admin)))
  return { admin, environment, server, workerIds }
}

/** Sends a request over a connection of its own, so that any worker may get it. Resolves to the status. */
async function send(url: string, path: string, token?: string, json?: unknown): Promise<number> {
  const outgoing = request(`${url}${path}`, {
    agent: new Agent(),
    method: json === undefined ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  })
  outgoing.end(json === undefined ? undefined : JSON.stringify(json))
  const [response] = await once(outgoing, 'response')
  response.resume()
  return response.statusCode
}

const read = (url: string): Promise<number> => send(url, '/accounts')

function isAlive(processId: number): boolean {
  try {
    return process.kill(processId, 0)
  } catch {
    return false
  }
}

const running = async (admin: string): Promise<number> => {
  const response = await fetch(`${admin}/health`)
  const { workers } = (await response.json()) as { workers: { configured: number; running: number } }
  return workers.running
}

t.test('two workers behind one port', async (t) => {
  const { admin, server, workerIds } = await startWorkers(t)
  const first = workerIds()
  t.notOk(first.includes(server.pid), 'the primary answers no request')

  await t.test('one token raced over many connections works once', async (t) => {
    const losers = () => server.log.filter(({ problem }) => problem === 'token-already-used')
    const reached = () => new Set(losers().map(({ pid }) => pid)).size
    // Which worker gets a connection is the primary's choice: it may give one of them all of a race, though hardly of several.
    for (let races = 1; races <= 10 && reached() < 2; races += 1) {
      const token = tokens.transfer()
      const statuses = await Promise.all(
        Array.from({ length: 60 }, () => send(server.url, '/transfers', token, transferBody())),
      )
      t.strictSame(statuses.toSorted(), [201, ...Array(59).fill(401)])
      await until('the log has arrived', () => losers().length === 59 * races)
    }
    t.equal(reached(), 2, 'at both workers')
  })

  await t.test('metrics are summed over the workers', async (t) => {
    const count = async () => {
      const text = await (await fetch(`${admin}/metrics`)).text()
      const line =
        /^stepgate_requests_total\{method="GET",route="\/accounts",status="401",problem="missing-token"\} (\d+)$/m
      return Number(line.exec(text)?.[1])
    }
    const before = await count()
    await Promise.all(Array.from({ length: 40 }, () => read(server.url)))
    t.equal(await count(), before + 40)
    const text = await (await fetch(`${admin}/metrics`)).text()
    t.match(text, /^stepgate_keys_usable 1$/m, 'what is true or false is not summed')
    t.match(text, /^stepgate_replay_rings_reachable 1$/m)
    t.match(text, /^stepgate_keys_age_seconds \d/m)
    t.strictSame(await (await fetch(`${admin}/health`)).json(), { workers: { configured: 2, running: 2 } })
    t.equal((await fetch(`${admin}/livez`)).status, 404)
  })

  await t.test('a worker that is killed is replaced, and the other one answers meanwhile', async (t) => {
    process.kill(first[0] as number, 'SIGKILL')
    await until('one worker is gone', async () => (await running(admin)) === 1)
    t.equal(await read(server.url), 401)
    await until('a new worker answers', async () => {
      await read(server.url)
      return workerIds().length === 3
    })
    t.equal(await running(admin), 2)
    t.equal(isAlive(first[1] as number), true)
  })

  await t.test('a signal to the whole group ends it, after what is under way, with 0', async (t) => {
    const { finish } = await beginTransfer(server.url, tokens.transfer())
    process.kill(-server.pid, 'SIGTERM')
    await until('no new connection is accepted', () => refusesConnections(server.url))
    t.match(await finish(), /^HTTP\/1\.1 201 Created\r\n/)
    t.strictSame(await server.exited, { code: 0, signal: null })
    t.strictSame(workerIds().filter(isAlive), [])
    t.equal(server.stderr, '')
  })
})

t.test('a worker that is still starting holds up no shutdown', async (t) => {
  const { admin, server, workerIds } = await startWorkers(t)
  process.kill(workerIds()[0] as number, 'SIGKILL')
  await until('one worker is gone', async () => (await running(admin)) === 1)
  await until('its successor is there, but not ready', async () => (await running(admin)) === 2)
  const signalledMs = performance.now()
  t.equal(await server.stop(), 0)
  t.ok(performance.now() - signalledMs < 3000)
  t.equal(server.stderr, '')
})

t.test('a signal while further workers start ends all of them, with 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const environment = await bankEnvironment(t, issuer.url, { WORKERS: '4' })
    // It answers as soon as the first worker listens; the others need a while.
    const server = await startServer(t, environment, { ownGroup: true })
    process.kill(-server.pid, signal)
    t.strictSame(await server.exited, { code: 0, signal: null })
    t.equal(server.stderr, '')
    t.equal(await refusesConnections(server.url), true)
  }
})

t.test('a worker that is killed while it starts is replaced', async (t) => {
  const environment = await bankEnvironment(t, issuer.url, { WORKERS: '2', LOG_LEVEL: 'info' })
  const server = new ServerProcess(environment, { ownGroup: true })
  t.teardown(() => server.running && process.kill(-server.pid, 'SIGKILL'))
  const children = () => readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ')
  await until('the primary has a worker', () => Number(children()[0]) > 0)
  process.kill(Number(children()[0]), 'SIGKILL')
  await until('the server listens', async () => !(await refusesConnections(server.url)))
  await untilBothAnswered(server)
  t.equal(await server.stop(), 0)
  t.equal(server.stderr, '')
})

t.test('a shutdown replaces nobody', async (t) => {
  const { admin, server, workerIds } = await startWorkers(t)
  process.kill(workerIds()[0] as number, 'SIGKILL')
  await until('one worker is gone', async () => (await running(admin)) === 1)
  t.equal(await server.stop('SIGINT'), 0)
  t.strictSame(workerIds().filter(isAlive), [])
})

t.test('a replacement that cannot start says why, and the others serve on', async (t) => {
  const { environment, server, workerIds } = await startWorkers(t)
  rmSync(join(environment['DATA_DIR'] as string, 'ledger.sqlite-wal'), { force: true })
  writeFileSync(join(environment['DATA_DIR'] as string, 'ledger.sqlite'), 'no database'.repeat(1000))
  process.kill(workerIds()[0] as number, 'SIGKILL')
  await until('two replacements have failed', () => server.stderr.split('config: DATA_DIR: ').length > 2)
  t.match(server.stderr, /^(?:config: DATA_DIR: ledger\.sqlite is damaged or no SQLite database\n)+$/)
  t.equal(await read(server.url), 401)
  t.equal(await server.stop(), 0)
})

t.test('workers whose primary was killed end by themselves, after what is under way', async (t) => {
  const { server, workerIds } = await startWorkers(t)
  const { finish } = await beginTransfer(server.url, tokens.transfer())
  server.child.kill('SIGKILL')
  await once(server.child, 'exit')
  t.match(await finish(), /^HTTP\/1\.1 201 Created\r\n/)
  await until('the workers are gone', () => !workerIds().some(isAlive))
  t.equal(await refusesConnections(server.url), true)
})

t.test('the bundle that is shipped does with every option on what the compiled server does', async (t) => {
  const origin = 'https://bank.example.com'
  const changes = { WORKERS: '2', ADMIN_PORT: String(await findFreePort()), RATE_LIMIT: '600', CORS_ORIGINS: origin }
  const environment = await bankEnvironment(t, issuer.url, changes)
  const server = await startServer(t, environment, { form: 'bundled' })
  const token = tokens.transfer()
  const statuses = await Promise.all([1, 2, 3].map(() => send(server.url, '/transfers', token, transferBody())))
  t.strictSame(statuses.toSorted(), [201, 401, 401])
  for (const path of ['/openapi.json', '/openapi.yaml', '/docs']) {
    const response = await fetch(`${server.url}${path}`, { headers: { origin } })
    t.equal(response.status, 200, path)
    t.equal(response.headers.get('access-control-allow-origin'), origin)
  }
  const admin = `http://127.0.0.1:${changes.ADMIN_PORT}`
  await until('the primary answers as well', async () => !(await refusesConnections(admin)))
  const metrics = await fetch(`${admin}/metrics`)
  t.match(await metrics.text(), 'stepgate_requests_total')
  t.equal(await server.stop(), 0)
  t.equal(server.stderr, '')
})

t.test('a port that is taken is refused at the start, once, and serves when it is free', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as AddressInfo
  const environment = await bankEnvironment(t, issuer.url, { WORKERS: '2', PORT: String(port), LOG_LEVEL: 'info' })
  const { child, stderr } = await runServer(t, environment)
  t.equal(child.exitCode, 1)
  t.equal(stderr, `config: PORT: ${port} cannot be listened on (EADDRINUSE)\n`)
  await new Promise((resolve) => taken.close(resolve))
  const server = await startServer(t, environment)
  await untilBothAnswered(server)
  t.equal(await server.stop(), 0)
})
