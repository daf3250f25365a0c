import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { readConfig } from '#src/config.js'
import { type Ledger, LedgerUnavailable } from '#src/ledger/ledger.js'
import { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { openRings } from '#src/open-parts.js'
import type { ReplayStore } from '#src/replay/replay-store.js'
import { serve } from '#src/serve.js'
import { beginTransfer, refusesConnections } from '../helpers/half-request.js'
import { interceptTimers } from '../helpers/intercepted-timers.js'
import { bankEnvironment, findFreePort, mintFor, runServer, startServer, until } from '../helpers/server-process.js'
import { readAnswer, transferBody } from '../helpers/test-api.js'
import { makeKey, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const tokens = mintFor(issuer)

async function call(url: string, path: string, token?: string, json?: unknown) {
  const method = json === undefined ? 'GET' : 'POST'
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
  })
  return readAnswer(method, path, response)
}

// Most of what follows is waiting for processes, so the tests run side by side.

t.test('without configuration the start says what is required, and nothing else', async (t) => {
  const { child, stdout, stderr } = await runServer(t, {})
  t.equal(child.exitCode, 1)
  t.equal(stdout, '')
  t.strictSame(stderr.split('\n').toSorted(), ['', 'config: AUDIENCE: required', 'config: ISSUER: required'])
})

t.test('what cannot be used is refused at the start, in one line', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const environment = await bankEnvironment(t, issuer.url)
  const file = join(dirname(environment.DATA_DIR), 'file')
  writeFileSync(file, 'x')
  const PUBLIC_URL = 'https://api.example'
  const cases: [Record<string, string>, RegExp][] = [
    [{ DATA_DIR: join(file, 'data') }, /^config: DATA_DIR: expected a folder .*\n$/],
    [{ PORT: String(port) }, new RegExp(`^config: PORT: ${port} cannot be listened on \\(EADDRINUSE\\)\n$`)],
    [
      { ADMIN_PORT: String(port) },
      new RegExp(`^config: ADMIN_PORT: ${port} cannot be listened on \\(EADDRINUSE\\)\n$`),
    ],
    [{ HOST: '192.0.2.1', PUBLIC_URL }, /^config: HOST: .*\(EADDRNOTAVAIL\)\n$/],
    [{ HOST: 'nowhere.invalid', PUBLIC_URL }, /^config: HOST: .*\((?:ENOTFOUND|EAI_AGAIN)\)\n$/],
  ]
  for (const [changes, message] of cases) {
    const { child, stderr } = await runServer(t, { ...environment, ...changes })
    t.equal(child.exitCode, 1)
    t.match(stderr, message)
  }
})

t.test('an unexpected failure at the start is shown as it is', async (t) => {
  const failing = `import net from 'node:net';net.Server.prototype.listen=()=>{throw new Error('unexpected')}`
  const options = { nodeArguments: ['--import', `data:text/javascript,${failing}`] }
  const { child, stderr } = await runServer(t, await bankEnvironment(t, issuer.url), options)
  t.equal(child.exitCode, 1)
  t.match(stderr, /Error: unexpected\n +at /)
  t.notMatch(stderr, /^config:/m)
})

t.test('it starts while the issuer is down, and recovers when it comes up', async (t) => {
  const port = await findFreePort()
  const environment = await bankEnvironment(t, `http://127.0.0.1:${port}`, { LOG_LEVEL: 'info' })
  const server = await startServer(t, environment)
  for (const path of ['/readyz', '/accounts']) {
    const answer = await call(server.url, path, tokens.read())
    t.equal(answer.status, 503, path)
    t.match(answer.body['type'], /\/problems\/keys-unavailable$/)
    t.equal(answer.headers.get('retry-after'), '5')
    t.equal(answer.challenge, null)
  }
  const late = await TestIssuer.start(port)
  t.teardown(() => late.stop())
  await until('the server is ready', async () => (await call(server.url, '/readyz')).status === 200)
  t.equal((await call(server.url, '/transfers', mintFor(late).transfer(), transferBody())).status, 201)
  t.equal(await server.stop(), 0)
  const told = (pattern: RegExp) => server.log.filter(({ msg }) => pattern.test(String(msg))).map(({ level }) => level)
  t.strictSame(told(/^AUDIENCE differs from PUBLIC_URL/), [40])
  t.strictSame(told(/keys of the issuer cannot be refreshed/), [40], 'the outage is told once')
  t.strictSame(told(/keys of the issuer are refreshed again/), [30])
  t.notMatch(server.stdout, /eyJ/, 'no token in the log')
  t.equal(server.stderr, '')
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} finishes what is under way and ends the process with 0`, async (t) => {
    const server = await startServer(t, await bankEnvironment(t, issuer.url))
    const { finish } = await beginTransfer(server.url, tokens.transfer())
    server.child.kill(signal)
    await until('no new connection is accepted', () => refusesConnections(server.url))
    t.equal(server.running, true)
    t.match(await finish(), /^HTTP\/1\.1 201 Created\r\n.*"status":"booked"/s)
    const finishedMs = performance.now()
    t.strictSame(await server.exited, { code: 0, signal: null })
    t.ok(performance.now() - finishedMs < 3000, 'soon after the last answer')
    t.equal(server.stderr, '')
  })
}

t.test('a request that never ends is cut, so that the process ends within 10 s of SIGTERM', async (t) => {
  const server = await startServer(t, await bankEnvironment(t, issuer.url))
  const { socket } = await beginTransfer(server.url, tokens.transfer())
  const cut = once(socket, 'close')
  const signalledMs = performance.now()
  t.equal(await server.stop(), 0)
  t.ok(performance.now() - signalledMs < 10_000)
  await cut
})

t.test('an unexpected exception ends the process with 1, after what is under way', async (t) => {
  const trigger = `data:text/javascript,process.once('SIGUSR2',()=>{throw new Error('unexpected')})`
  const server = await startServer(t, await bankEnvironment(t, issuer.url), { nodeArguments: ['--import', trigger] })
  const { finish } = await beginTransfer(server.url, tokens.transfer())
  server.child.kill('SIGUSR2')
  await until('no new connection is accepted', () => refusesConnections(server.url))
  t.match(await finish(), /^HTTP\/1\.1 201 Created/)
  t.strictSame(await server.exited, { code: 1, signal: null })
  t.match(server.stderr, /^Error: unexpected\n +at /)
})

t.test('what is odd about the keys of the issuer stands in the log', async (t) => {
  const odd = await TestIssuer.start()
  t.teardown(() => odd.stop())
  const { jwk, kid } = odd.keys.ES256
  odd.published = [jwk, { ...makeKey('ES256', kid).jwk }, odd.keys.RS256.jwk]
  const server = await startServer(t, await bankEnvironment(t, odd.url))
  await until('it is told', () => server.log.some(({ msg }) => /different keys one kid/.test(String(msg))))
  t.equal(await server.stop(), 0)
})

t.test('ADMIN_PORT shows metrics and health on loopback, and nothing else', async (t) => {
  const environment = await bankEnvironment(t, issuer.url, { ADMIN_PORT: String(await findFreePort()) })
  const server = await startServer(t, environment)
  const admin = `http://127.0.0.1:${environment['ADMIN_PORT']}`
  const read = async (path: string) => {
    const response = await fetch(`${admin}${path}`)
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }
  t.equal((await call(server.url, '/accounts', tokens.read())).status, 200)
  t.equal((await call(server.url, '/accounts')).status, 401)
  t.equal((await call(server.url, '/transfers', tokens.transfer(), transferBody())).status, 201)
  t.equal((await call(server.url, '/nothing/here')).status, 404)
  const metrics = await read('/metrics')
  t.match(metrics, { status: 200, type: 'text/plain; version=0.0.4' })
  for (const line of [
    'stepgate_requests_total{method="GET",route="/accounts",status="200",problem="none"} 1',
    'stepgate_requests_total{method="GET",route="/accounts",status="401",problem="missing-token"} 1',
    'stepgate_requests_total{method="GET",route="none",status="404",problem="unknown-path"} 1',
    'stepgate_replay_cache_entries 1',
    'stepgate_keys_usable 1',
  ]) {
    t.ok(metrics.text.split('\n').includes(line), line)
  }
  t.match(metrics.text, /^stepgate_keys_age_seconds \d+(?:\.\d+)?$/m)
  t.match(metrics.text, 'process_cpu_seconds_total')
  t.notMatch(metrics.text, /eyJ|alice|nothing/, 'no token, no subject, no path')
  const health = await read('/health')
  t.match(health, { status: 200, type: 'application/json' })
  t.match(JSON.parse(health.text), {
    keys: 'fresh',
    ledger: 'reachable',
    replayCache: { entries: 1, maxEntries: 100_000 },
    uptimeSeconds: Number,
  })
  for (const path of ['/', '/metrics?x', '/accounts', '/livez']) t.equal((await read(path)).status, 404, path)
  for (const path of ['/metrics', '/health']) t.equal((await call(server.url, path)).status, 404, `${path} of the API`)
  for (const { address } of Object.values(networkInterfaces()).flatMap((list) => list ?? [])) {
    if (address === '127.0.0.1') continue
    const host = address.includes(':') ? `[${address}]` : address
    t.ok(await refusesConnections(`http://${host}:${environment['ADMIN_PORT']}`), `not on ${address}`)
  }
  t.equal(await server.stop(), 0, 'connections that are idle hold nothing up')
})

t.test('what fails behind a serving process is told and survived', async (t) => {
  const environment = await bankEnvironment(t, issuer.url, {
    LOG_LEVEL: 'silent',
    ADMIN_PORT: String(await findFreePort()),
  })
  const read = readConfig(environment)
  if ('faults' in read) throw new Error(read.faults.join())
  const { config } = read
  const timers = interceptTimers(t, [60_000])
  const ledger = await SqliteLedger.open(config.DATA_DIR)
  let failing = true
  const prunings: Promise<number>[] = []
  const ends: string[] = []
  let held: Promise<void> | undefined
  const prune = async (nowMs: number): Promise<number> => {
    if (failing) throw new LedgerUnavailable('busy')
    await held
    const pruned = await ledger.prune(nowMs)
    ends.push('pruning')
    return pruned
  }
  const flaky = Object.assign(Object.create(ledger) as Ledger, {
    isReachable: async () => !failing,
    close: () => {
      ends.push('ledger')
      return ledger.close()
    },
    prune: (nowMs: number) => {
      const pruning = prune(nowMs)
      prunings.push(pruning)
      return pruning
    },
  })
  const silentRing: ReplayStore = {
    retention: 'shared',
    isReachable: false,
    consume: async () => 'unreachable',
    release: async () => undefined,
  }
  const close = await serve({
    config,
    warnings: [],
    adminListener: true,
    open: {
      ledger: async () => flaky,
      rings: async (...parameters) => ({
        ...(await openRings(...parameters)),
        replayStore: silentRing,
        close: () => ends.push('rings'),
      }),
    },
  })
  const health = async () => (await (await fetch(`http://127.0.0.1:${config.ADMIN_PORT}/health`)).json()) as object
  const pruneNow = async (): Promise<PromiseSettledResult<number>[]> => {
    timers[0]?.ring()
    await new Promise(setImmediate)
    return Promise.allSettled(prunings.splice(0))
  }
  t.match(await health(), { ledger: 'unreachable', replayRings: 'unreachable' })
  t.equal((await call(`http://127.0.0.1:${config.PORT}`, '/readyz')).status, 503)
  t.match(await pruneNow(), [{ status: 'rejected' }])
  failing = false
  t.match(await health(), { ledger: 'reachable' })
  t.match(await pruneNow(), [{ status: 'fulfilled', value: 0 }], 'the next round goes on')
  ends.length = 0
  let letGo = () => {}
  held = new Promise((resolve) => {
    letGo = resolve
  })
  timers[0]?.ring()
  const closing = close()
  await until('nothing else is open', () => ends.length > 0)
  await new Promise(setImmediate)
  letGo()
  await closing
  t.strictSame(ends, ['rings', 'pruning', 'ledger'], 'the ledger stays open for the pruning under way')
  t.equal(timers[0]?.cleared, true)
  t.ok(await refusesConnections(`http://127.0.0.1:${config.PORT}`))
  t.ok(await refusesConnections(`http://127.0.0.1:${config.ADMIN_PORT}`))
})

t.test('two processes on one data folder are one bank', async (t) => {
  const environment = await bankEnvironment(t, issuer.url)
  const other = { ...environment, PORT: String(await findFreePort()) }
  const urls = (await Promise.all([environment, other].map((one) => startServer(t, one)))).map(({ url }) => url)
  const token = tokens.transfer()
  const raced = Array.from({ length: 40 }, (_, n) => call(urls[n % 2] as string, '/transfers', token, transferBody()))
  const statuses = (await Promise.all(raced)).map(({ status }) => status)
  t.strictSame(statuses.toSorted(), [201, ...Array(39).fill(401)], 'one token raced at both processes works once')
  const [one, two] = await Promise.all(urls.map((url) => call(url, '/accounts', tokens.read())))
  t.match(one?.body, { accounts: [{ balance: { amount: '975.00' } }] })
  t.strictSame(two?.body, one?.body)
})
