import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { httpLimits } from '#src/core/http-limits.js'
import type { SqliteLedger } from '#src/ledger/sqlite/sqlite-ledger.js'
import { listenForAdmin } from '#src/plugins/operations.js'
import { type ExchangeOptions, exchange, exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { bankEnvironment, startServer } from '../helpers/server-process.js'
import { balances, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const body = JSON.stringify(transferBody())
const late: Expected = [408, 'request-timeout']

/** A server whose patience is short enough for a test; how often it looks stays as it is, every two seconds. */
async function startHastyApi(t: Test, options: Parameters<typeof startTestApi>[1] = {}) {
  const api = await startTestApi(t, options)
  api.app.server.headersTimeout = 100
  api.app.server.requestTimeout = 200
  return api
}

/** A connection on which nothing was sent, and its other end in the server. */
async function open(port: number, server: { once(event: 'connection', listener: (socket: Socket) => void): unknown }) {
  const accepted = new Promise<Socket>((resolve) => void server.once('connection', resolve))
  const client = connect(port, '127.0.0.1')
  client.on('error', () => undefined)
  return { client, connection: await accepted }
}

/** A ledger that books nothing until it is told to go on. */
function holdLedger() {
  let go = () => {}
  const held = new Promise<void>((resolve) => {
    go = resolve
  })
  const ledger = (sqlite: SqliteLedger): SqliteLedger => {
    const book = sqlite.book.bind(sqlite)
    sqlite.book = (order) => held.then(() => book(order))
    return sqlite
  }
  return { go, ledger }
}

/** What Node keeps on a server without a type for it. */
type LimitedServer = Server & { maxHeaderSize: number; connectionsCheckingInterval: number }
type OwnLimit = 'bodyBytes' | 'pathParameterLength' | 'pipelinedRequests'

/** The limits that Node holds, on the API's server and on the admin's. */
function limitsOf(server: Server): Record<Exclude<keyof typeof httpLimits, OwnLimit>, unknown> {
  const { maxHeaderSize, connectionsCheckingInterval, ...set } = server as LimitedServer
  return {
    headerBytes: maxHeaderSize,
    headersTimeoutMs: set.headersTimeout,
    requestTimeoutMs: set.requestTimeout,
    timeoutCheckIntervalMs: connectionsCheckingInterval,
    silenceTimeoutMs: set.timeout,
    keepAliveTimeoutMs: set.keepAliveTimeout,
    requestsPerConnection: set.maxRequestsPerSocket,
    connections: set.maxConnections,
  }
}

t.test('every limit is set on the server, whatever the defaults of Node are', async (t) => {
  const { server, initialConfig } = (await startTestApi(t)).app
  const set: Record<keyof typeof httpLimits, unknown> = {
    ...limitsOf(server),
    bodyBytes: initialConfig.bodyLimit,
    pathParameterLength: initialConfig.routerOptions?.maxParamLength,
    // No setting: a test below sends that many, and one more.
    pipelinedRequests: httpLimits.pipelinedRequests,
  }
  t.strictSame(set, { ...httpLimits })
  t.equal(server.maxHeadersCount, 0, 'all fields are seen')
})

t.test('request line and header fields have 16 KiB together, and trailer fields as many again', async (t) => {
  const { port, tokens } = await startTestApi(t)
  const tooLarge: Expected = [431, 'headers-too-large']
  const field = (bytes: number) => `X: ${'x'.repeat(bytes - 1)}`
  const get = (target: string, ...fields: string[]) => exchangeOne(port, rawRequest('GET', target, fields))
  // A hundred bytes are left for the fields of every request.
  const most = httpLimits.headerBytes - 100
  t.equal((await get('/livez', field(most))).status, 200)
  checkRefusal(t, await get('/livez', field(httpLimits.headerBytes)), tooLarge)
  t.equal((await get(`/livez?${'x'.repeat(most / 2)}`, field(8000))).status, 200, 'line and field, within')
  checkRefusal(t, await get(`/livez?${'x'.repeat(most / 2)}`, field(8400)), tooLarge, 'line and field')
  checkRefusal(t, await get('/livez', ...Array(10).fill(field(1640))), tooLarge, 'ten fields')
  const authorization = `Authorization: Bearer ${tokens.transfer()}`
  const trailed = (bytes: number) => {
    const fields = [authorization, 'Transfer-Encoding: chunked', 'Content-Type: application/json', field(most - 1000)]
    return exchangeOne(port, `${rawRequest('POST', '/transfers', fields)}2\r\n{}\r\n0\r\n${field(bytes)}\r\n\r\n`)
  }
  checkRefusal(t, await trailed(most), [400, 'invalid-input'], 'as many again')
  checkRefusal(t, await trailed(httpLimits.headerBytes), tooLarge, 'and no more')
})

t.test('a parameter of a path has 100 characters once it is decoded', async (t) => {
  const { port } = await startTestApi(t)
  for (const character of ['x', '%78']) {
    const get = (length: number) => exchangeOne(port, rawRequest('GET', `/problems/${character.repeat(length)}`))
    checkRefusal(t, await get(httpLimits.pathParameterLength), [404, 'unknown-path'], `${character}, the most`)
    checkRefusal(t, await get(httpLimits.pathParameterLength + 1), [414, 'uri-too-long'], `${character}, one more`)
  }
})

t.test('what Node is started with widens nothing', async (t) => {
  const issuer = await TestIssuer.start()
  t.teardown(() => issuer.stop())
  const nodeArguments = ['--max-http-header-size=65536', '--insecure-http-parser']
  const environment = await bankEnvironment(t, issuer.url, { PUBLIC_URL: publicUrl })
  await startServer(t, environment, { nodeArguments })
  const port = Number(environment.PORT)
  const huge = rawRequest('GET', '/livez', [`X: ${'x'.repeat(17_000)}`])
  checkRefusal(t, await exchangeOne(port, huge), [431, 'headers-too-large'])
  const bothLengths = rawRequest('POST', '/transfers', ['Content-Length: 2', 'Transfer-Encoding: chunked'])
  checkRefusal(t, await exchangeOne(port, `${bothLengths}0\r\n\r\n`), [400, 'malformed-request'])
})

t.test('docs/configuration.md names every limit with its value', async (t) => {
  const text = readFileSync('docs/configuration.md', 'utf8')
  const documented = [...text.matchAll(/^\| [^|]+\| (\d+)[^|]*\(`(\w+)`\)/gm)].map(([, value, name]) => [
    name,
    Number(value),
  ])
  t.strictSame(Object.fromEntries(documented), { ...httpLimits })
})

t.test('RFC 9110 §15.5.9: who is slow to send a request gets 408, and holds up nobody', async (t) => {
  const api = await startHastyApi(t)
  const { call, port, tokens } = api
  const opening = await balances(api)
  const unused = tokens.transfer()
  const head = `POST /transfers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${unused}\r\nContent-Type: application/json\r\n`
  const whole = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
  const clients: [string, string, ExchangeOptions?][] = [
    ['says nothing', ''],
    ['stops in the request line', 'GET /acc'],
    ['stops in a header field', 'GET /accounts HTTP/1.1\r\nHost: x\r\nX-A'],
    ['sends header fields without end', 'GET /accounts HTTP/1.1\r\nHost: x\r\n', { drip: 'X: y\r\n' }],
    ['stops before the body', `${head}Content-Length: ${body.length}\r\n\r\n`],
    ['stops within the body', `${head}Content-Length: ${body.length}\r\n\r\n${body.slice(0, -1)}`],
    ['sends the body byte by byte', `${head}Content-Length: 16384\r\n\r\n`, { drip: ' ' }],
    ['stops between chunks', `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`],
    ['sends chunks without end', `${head}Transfer-Encoding: chunked\r\n\r\n`, { drip: '1\r\n \r\n' }],
    ['sends trailer fields without end', `${head}Transfer-Encoding: chunked\r\n\r\n0\r\n`, { drip: 'X: y\r\n' }],
  ]
  const answers = clients.map(([, bytes, options]) => exchange(port, bytes, options))
  const second = exchange(port, `${whole}GET /livez HTTP/1.1\r\n`)
  t.equal((await call('GET', '/accounts', { token: tokens.read() })).status, 200, 'others are served meanwhile')
  for (const [index, [name]] of clients.entries()) {
    const [answer, ...more] = (await answers[index]) as Awaited<(typeof answers)[number]>
    checkRefusal(t, answer as NonNullable<typeof answer>, late, name)
    t.equal(answer?.headers.get('connection'), 'close', name)
    t.strictSame(more, [], name)
  }
  const [first, ...rest] = await second
  t.equal(first?.status, 200, 'the request before has its answer')
  for (const answer of rest) checkRefusal(t, answer, late)
  t.strictSame(await balances(api), opening)
  t.equal((await call('POST', '/transfers', { token: unused, json: transferBody() })).status, 201, 'no token is burnt')
})

t.test('a request that has arrived is answered, however long that takes', async (t) => {
  const { go, ledger } = holdLedger()
  const { port, tokens } = await startHastyApi(t, { ledger })
  const fields = [`Authorization: Bearer ${tokens.transfer()}`, 'Content-Type: application/json']
  const answer = exchangeOne(port, rawRequest('POST', '/transfers', fields, body))
  // Whoever comes later and is too slow shows that the time of the first is over as well.
  checkRefusal(t, await exchangeOne(port, 'GET'), late)
  go()
  t.equal((await answer).status, 201)
})

t.test('a connection with more pipelined requests than may wait is cut', async (t) => {
  const { go, ledger } = holdLedger()
  const { port, tokens } = await startTestApi(t, { ledger })
  const first = () => {
    const fields = [`Authorization: Bearer ${tokens.transfer()}`, 'Content-Type: application/json']
    return rawRequest('POST', '/transfers', fields, body).replace('Connection: close', 'Connection: keep-alive')
  }
  const more = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
  const within = exchange(port, first() + more.repeat(httpLimits.pipelinedRequests), {
    answers: httpLimits.pipelinedRequests + 1,
  })
  t.strictSame(await exchange(port, first() + more.repeat(httpLimits.pipelinedRequests + 1)), [])
  go()
  t.strictSame([...new Set((await within).map(({ status }) => status))], [201, 200], 'as many as may wait are answered')
})

t.test('a client that does not read its answers is not read from either, and is cut off', async (t) => {
  const { app, port } = await startTestApi(t)
  app.server.timeout = 500
  const { client, connection } = await open(port, app.server)
  const closed = once(connection, 'close')
  client.pause()
  const request = 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'
  const bytes = request.repeat(400_000)
  client.write(bytes)
  await closed
  t.ok(connection.bytesRead < bytes.length / 2, 'the server stopped reading')
  client.destroy()
  t.equal((await exchangeOne(port, rawRequest('GET', '/livez'))).status, 200)
})

t.test('a connection without another request is closed', async (t) => {
  const { app, port } = await startTestApi(t)
  app.server.keepAliveTimeout = 50
  const [answer, ...more] = await exchange(port, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n')
  t.equal(answer?.headers.get('connection'), 'keep-alive')
  t.strictSame(more, [], 'without a word')
})

t.test('connections beyond the limit are closed at once, until there is room again', async (t) => {
  const { app, port } = await startTestApi(t)
  app.server.maxConnections = 1
  const { client, connection } = await open(port, app.server)
  t.strictSame(await exchange(port, rawRequest('GET', '/livez')), [])
  client.destroy()
  await once(connection, 'close')
  t.equal((await exchangeOne(port, rawRequest('GET', '/livez'))).status, 200)
})

/** The admin listener, with these metrics. */
async function startAdmin(t: Test, metrics: () => Promise<string> = async () => 'metrics') {
  const server = await listenForAdmin(0, { metrics, health: async () => ({}) })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, port: (server.address() as AddressInfo).port }
}

t.test('the admin port has the same limits of header fields, time, silence and connections', async (t) => {
  const { server, port } = await startAdmin(t, async () => 'x'.repeat(50_000_000))
  t.strictSame(limitsOf(server), limitsOf((await startTestApi(t)).app.server))
  const status = async (bytes: string) => (await exchangeOne(port, bytes)).status
  t.equal(await status(rawRequest('GET', '/health', [`X: ${'x'.repeat(16_000)}`])), 200)
  t.equal(await status(rawRequest('GET', '/health', [`X: ${'x'.repeat(17_000)}`])), 431)
  server.headersTimeout = 100
  server.requestTimeout = 200
  t.equal(await status('GET /health HTTP/1.1\r\nHost: x\r\nX-A'), 408, 'a slow client')

  server.timeout = 1000
  server.maxConnections = 1
  const { client, connection } = await open(port, server)
  const closed = once(connection, 'close')
  t.strictSame(await exchange(port, rawRequest('GET', '/health')), [], 'one connection too many')
  client.pause()
  client.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
  await closed
  client.destroy()
  t.equal(await status(rawRequest('GET', '/health')), 200, 'one that does not read made room again')
})

t.test('the admin port takes no body', async (t) => {
  const { port } = await startAdmin(t)
  for (const field of ['Content-Length: 1', 'Content-Length: 1000000000', 'Transfer-Encoding: chunked']) {
    const answer = await exchangeOne(port, `GET /health HTTP/1.1\r\nHost: x\r\n${field}\r\n\r\n`)
    t.strictSame([answer.status, answer.headers.get('connection')], [413, 'close'], field)
  }
  const bodiless = rawRequest('GET', '/health', ['Content-Length: 0'])
  t.equal((await exchangeOne(port, bodiless)).status, 200)
})
