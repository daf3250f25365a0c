import { type EventEmitter, once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { refusesConnections } from '../helpers/half-request.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { startRoundRobinProxy } from '../helpers/round-robin-proxy.js'
import { findFreePort } from '../helpers/server-process.js'
import { missingService } from '../helpers/services.js'
import { isReadyForQuery, startTcpProxy } from '../helpers/tcp-proxy.js'

/** Fails when there is no answer in time. The types of pg know this setting only for a whole client. */
const timedQuery = { text: 'SELECT', query_timeout: 100 }

/** Listens on a free port until the end of the test. Resolves to the port. */
async function listen(t: Test, server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Waits for an event, also past an error. */
async function next(emitter: EventEmitter, event: string): Promise<void> {
  await new Promise<void>((resolve) => emitter.once(event, () => resolve()))
}

/** What a socket says until its end, which leaves the other way open, or until it is reset. */
async function readAll(socket: Socket): Promise<string> {
  let said = ''
  socket.on('data', (text: string) => {
    said += text
  })
  await Promise.race([next(socket, 'end'), next(socket, 'close')])
  return said
}

t.test('a TCP proxy in front of PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)
  const url = await postgres.createDatabase()
  await postgres.query(url, 'CREATE TABLE booked (n integer)')
  const proxy = await startTcpProxy(t, postgres)
  const booked = async (): Promise<unknown> => postgres.query(url, 'SELECT n FROM booked ORDER BY n')
  t.beforeEach(() => postgres.query(url, 'TRUNCATE booked'))

  /** A client that has used its prepared statement, so that a request no longer has the text but only the name. */
  async function connectClient(t: Test) {
    const client = new Client({ connectionString: proxy.through(url) })
    client.on('error', () => undefined)
    t.teardown(() => client.end())
    await client.connect()
    const book = async (n: number): Promise<unknown> =>
      client.query({ name: 'book_transfer', text: 'INSERT INTO booked SELECT $1::integer WHERE $1 > 0', values: [n] })
    await book(0)
    return { client, book }
  }

  t.test('cuts a request off before the server has it, once', async (t) => {
    const bystander = await connectClient(t)
    const { book } = await connectClient(t)
    const fired = proxy.cutBeforeRequest('book_transfer')
    await t.rejects(book(1))
    await fired
    t.strictSame(await booked(), [])
    await bystander.book(2)
    await (await connectClient(t)).book(3)
    t.strictSame(await booked(), [{ n: 2 }, { n: 3 }])
  })

  t.test('cuts an answer off after the server has committed, once', async (t) => {
    const bystander = await connectClient(t)
    const { book } = await connectClient(t)
    const fired = proxy.cutBeforeResponse((chunk) => chunk.includes('book_transfer'))
    await t.rejects(book(1))
    await fired
    t.strictSame(await booked(), [{ n: 1 }])
    await bystander.book(2)
    t.strictSame(await booked(), [{ n: 1 }, { n: 2 }])
  })

  t.test('waits for the commit when a part of the answer comes before it', async (t) => {
    const { client } = await connectClient(t)
    const fired = proxy.cutBeforeResponse('RETURNING', isReadyForQuery)
    const long = "INSERT INTO booked SELECT n FROM generate_series(1, 1000) n RETURNING repeat('x', 1000)"
    await t.rejects(client.query(long))
    await fired
    t.strictSame(await postgres.query(url, 'SELECT count(*)::integer FROM booked'), [{ count: 1000 }])
  })

  t.test('freezes connections old and new, and thaws them', async (t) => {
    const patient = await connectClient(t)
    const hasty = await connectClient(t)
    proxy.freeze()
    const answer = patient.book(1)
    const newcomer = postgres.query(proxy.through(url), 'SELECT 1 AS n')
    await t.rejects(hasty.client.query(timedQuery), { message: 'Query read timeout' })
    t.strictSame(await booked(), [])
    proxy.thaw()
    await answer
    t.strictSame(await newcomer, [{ n: 1 }])
    t.strictSame(await booked(), [{ n: 1 }])
  })

  t.test('cuts everything and refuses connections until it is healed', async (t) => {
    const { client } = await connectClient(t)
    const ended = next(client, 'end')
    proxy.cut()
    await ended
    t.ok(await refusesConnections(proxy.through(url)))
    await proxy.heal()
    await connectClient(t)
  })

  t.test('passes on that the server is down, and that it is back', async (t) => {
    const { client } = await connectClient(t)
    const ended = next(client, 'end')
    await postgres.kill()
    await ended
    await t.rejects(postgres.query(proxy.through(url), 'SELECT'))
    await postgres.start()
    t.strictSame(await postgres.query(proxy.through(url), 'SELECT 1 AS n'), [{ n: 1 }])
  })
})

t.test('a TCP proxy in front of anything', async (t) => {
  const target = createServer({ allowHalfOpen: true })
  const proxy = await startTcpProxy(t, { port: await listen(t, target) })

  /** Both ends of a connection through the proxy. */
  async function join(t: Test): Promise<{ near: Socket; far: Socket }> {
    const accepted = once(target, 'connection')
    const near = connect({ port: proxy.port, host: proxy.host, allowHalfOpen: true })
    const [far] = (await accepted) as [Socket]
    for (const socket of [near, far]) socket.setEncoding('utf8').on('error', () => undefined)
    t.teardown(() => {
      near.destroy()
      far.destroy()
    })
    return { near, far }
  }

  t.test('delays each way', async (t) => {
    const { near, far } = await join(t)
    far.on('data', (text: string) => far.write(text))
    proxy.delayMs = 25
    const startedMs = performance.now()
    near.write('hello')
    t.strictSame(await once(near, 'data'), ['hello'])
    t.ok(performance.now() - startedMs >= 45)
    proxy.delayMs = 0
  })

  t.test('passes the end of one side on, and what the other still says', async (t) => {
    const { near, far } = await join(t)
    near.end('question')
    t.equal(await readAll(far), 'question')
    far.end('answer')
    t.equal(await readAll(near), 'answer')
  })

  t.test('ends one side by itself, while the other way stays open', async (t) => {
    for (const side of ['client', 'server'] as const) {
      const { near, far } = await join(t)
      const [told, other] = side === 'client' ? [near, far] : [far, near]
      proxy.halfClose(side)
      t.equal(await readAll(told), '')
      told.end('late')
      t.equal(await readAll(other), 'late')
    }
  })

  t.test('finds a text that is split over two chunks', async (t) => {
    const { near, far } = await join(t)
    const received = once(far, 'data')
    const fired = proxy.cutBeforeRequest('marker')
    near.write('a mar')
    t.strictSame(await received, ['a mar'])
    const ended = Promise.all([next(far, 'close'), next(near, 'close')])
    far.on('data', (text) => t.fail(`${text} was delivered`))
    near.write('ker')
    await Promise.all([fired, ended])
  })

  t.test('drops what a rule swallows, and delivers what it cuts after', async (t) => {
    const { near, far } = await join(t)
    const drop = proxy.onServerBytes((chunk) => {
      if (!chunk.includes('secret')) return 'cut-after'
      // Sent only now, so that the two do not arrive as one.
      far.write('open')
      return 'swallow'
    })
    far.write('secret')
    t.equal(await readAll(near), 'open')
    drop()
  })
})

t.test('a round-robin proxy', async (t) => {
  type Answer = (name: string, request: IncomingMessage, response: ServerResponse) => unknown
  /** A replica that answers with its name and what it was sent, and counts. */
  async function startReplica(t: Test, name: string, answerWith = answerAll) {
    const requests: IncomingMessage[] = []
    const server = createHttpServer((request, response) => {
      requests.push(request)
      answerWith(name, request, response)
    })
    t.teardown(() => server.closeAllConnections())
    return { port: await listen(t, server), requests }
  }
  const answerAll: Answer = async (name, request, response) => {
    const body = await text(request)
    const cookies = ['Set-Cookie', 'a=1', 'set-cookie', 'b=2']
    response.sendDate = false
    response.writeHead(201, ['X-Name', name, ...cookies, 'Connection', 'close', 'Content-Length', String(body.length)])
    response.end(body)
  }

  t.test('gives each request to the next replica, and takes others at run time', async (t) => {
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => startReplica(t, name)))
    const [a, b, c] = replicas.map(({ port }) => port) as [number, number, number]
    const proxy = await startRoundRobinProxy(t, [a, b])
    const ask = async (): Promise<string | null> => (await fetch(proxy.url)).headers.get('x-name')
    t.strictSame([await ask(), await ask(), await ask()], ['a', 'b', 'a'])
    proxy.replicas = [c]
    t.strictSame([await ask(), await ask()], ['c', 'c'])
    proxy.replicas = []
    t.equal((await fetch(proxy.url)).status, 502)
  })

  t.test('passes method, target, header fields and body on as they are', async (t) => {
    const { port, requests } = await startReplica(t, 'a')
    const proxy = await startRoundRobinProxy(t, [port])
    const sent = rawRequest('POST', '/a%2Fb?c=d', ['X-Twice: 1', 'x-twice: 2', 'DPoP: proof'], 'body')
    const answer = await exchangeOne(Number(new URL(proxy.url).port), sent)
    t.strictSame(
      requests.map(({ method, url, rawHeaders }) => ({ method, url, fields: rawHeaders.join(' ') })),
      [
        {
          method: 'POST',
          url: '/a%2Fb?c=d',
          fields: 'Host api.example.com Connection close X-Twice 1 x-twice 2 DPoP proof Content-Length 4',
        },
      ],
    )
    t.match(answer, { status: 201, text: 'body' })
    t.strictSame(answer.fields, [
      ['x-name', 'a'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['connection', 'close'],
      ['content-length', '4'],
    ])
  })

  t.test('answers 502 for a replica that refuses or breaks, and asks no other', async (t) => {
    const broken = await startReplica(t, 'broken', (_name, request) => request.socket.destroy())
    const spare = await startReplica(t, 'spare')
    const proxy = await startRoundRobinProxy(t, [await findFreePort(), spare.port, broken.port])
    const post = async (): Promise<number> => (await fetch(proxy.url, { method: 'POST', body: 'once' })).status
    t.strictSame([await post(), spare.requests.length], [502, 0])
    t.strictSame([await post(), await post()], [201, 502])
    t.strictSame([broken.requests.length, spare.requests.length], [1, 1])
  })

  t.test('breaks its answer off where the replica did', async (t) => {
    const broken = await startReplica(t, 'broken', (_name, request, response) => {
      response.writeHead(200, { 'content-length': '8' })
      response.write('half', () => request.socket.destroy())
    })
    const proxy = await startRoundRobinProxy(t, [broken.port])
    const response = await fetch(proxy.url)
    t.equal(response.status, 200)
    await t.rejects(response.text())
  })
})
