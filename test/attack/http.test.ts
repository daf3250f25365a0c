import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { exchange, exchangeOne, type RawAnswer, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { until } from '../helpers/server-process.js'
import { balances, startTestApi, transferBody } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { call, port, tokens } = api
const opening = await balances(api)
const bearer = `Authorization: Bearer ${tokens.read()}`
const unused = tokens.transfer()
const transferHead = `POST /transfers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${unused}\r\nContent-Type: application/json\r\n`
const json = 'Content-Type: application/json'
const body = JSON.stringify(transferBody())
const malformed: Expected = [400, 'malformed-request']

t.test('what the HTTP parser refuses is a problem, and the connection ends', async (t) => {
  const requests: [string, string, Expected?][] = [
    ['a word', 'garbage\r\n\r\n'],
    ['a TLS greeting', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['an unknown method', 'FOO /accounts HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a method in lower case', 'get /accounts HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a target without slash', 'GET accounts HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['lines that end in LF', 'GET /livez HTTP/1.1\nHost: x\n\n'],
    ['a space before the colon', 'GET /livez HTTP/1.1\r\nHost : x\r\n\r\n'],
    ['a folded field', `GET /accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n x\r\n\r\n`],
    ['a NUL in a field', 'GET /livez HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n'],
    ['a field name that is none', 'GET /livez HTTP/1.1\r\nHost: x\r\nX(: a\r\n\r\n'],
    ['no Host field', `GET /accounts HTTP/1.1\r\n${bearer}\r\nConnection: close\r\n\r\n`],
    ['two Host fields', `GET /accounts HTTP/1.1\r\nHost: x\r\nHost: y\r\n${bearer}\r\nConnection: close\r\n\r\n`],
    ['both lengths', `${transferHead}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    [
      'both lengths, the other order',
      `${transferHead}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    ],
    ['two lengths', `${transferHead}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`],
    ['a list of lengths', `${transferHead}Content-Length: 5, 5\r\n\r\nabcde`],
    ['a negative length', `${transferHead}Content-Length: -5\r\n\r\n`],
    ['a length with a sign', `${transferHead}Content-Length: +5\r\n\r\nabcde`],
    ['a length in hex', `${transferHead}Content-Length: 0x5\r\n\r\nabcde`],
    ['a length beyond all numbers', `${transferHead}Content-Length: 99999999999999999999\r\n\r\na`],
    ['an unknown coding', `${transferHead}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['chunked, and not last', `${transferHead}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
    ['a chunk size that is none', `${transferHead}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`],
    ['a chunk longer than it says', `${transferHead}Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n`],
    ['a huge field', rawRequest('GET', '/livez', [`X: ${'x'.repeat(17_000)}`]), [431, 'headers-too-large']],
    ['a huge target', rawRequest('GET', `/${'x'.repeat(17_000)}`), [431, 'headers-too-large']],
    ['a version of HTTP that is not served', 'GET /livez HTTP/2.0\r\nHost: x\r\n\r\n'],
    ['no version', 'GET /livez\r\nHost: x\r\n\r\n'],
    ['a Host field that is none', 'GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n'],
    ['a Host field with a user', 'GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n'],
    ['a Host field with a path', 'GET /livez HTTP/1.0\r\nHost: a/b\r\n\r\n'],
    ['two Host fields in HTTP/1.0', 'GET /livez HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n'],
    [
      'chunks in HTTP/1.0',
      `${transferHead.replace('1.1', '1.0')}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    ],
    ['two equal lengths', `${transferHead}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`],
    ['a coding after a vertical tab', `${transferHead}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
    ['chunked twice', `${transferHead}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a chunk size in another notation', `${transferHead}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n`],
    ['a chunk that ends in LF', `${transferHead}Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n`],
    ['a CR within a field', 'GET /livez HTTP/1.1\r\nHost: x\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n'],
    [
      'huge trailer fields',
      `${transferHead}Transfer-Encoding: chunked\r\n\r\n0\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`,
      [431, 'headers-too-large'],
    ],
    [
      'huge chunk extensions',
      `${transferHead}Transfer-Encoding: chunked\r\n\r\n2;${'x'.repeat(17_000)}\r\n{}\r\n0\r\n\r\n`,
      [413, 'payload-too-large'],
    ],
    ['many fields', rawRequest('GET', '/livez', Array(5000).fill('X: xxx')), [431, 'headers-too-large']],
  ]
  for (const [name, bytes, expected = malformed] of requests) {
    const answer = await exchangeOne(port, bytes)
    checkRefusal(t, answer, expected, name)
    t.equal(answer.headers.get('connection'), 'close', name)
  }
})

t.test('a client that goes away in the middle is answered, and books nothing', async (t) => {
  const requests: [string, string][] = [
    ['within the head', 'GET /accounts HTTP/1.1\r\nHos'],
    ['within the body', `${transferHead}Content-Length: ${body.length + 1}\r\n\r\n${body}`],
    ['within a chunk', `${transferHead}Transfer-Encoding: chunked\r\n\r\nff\r\n${body}`],
    [
      'before the last chunk',
      `${transferHead}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n`,
    ],
  ]
  for (const [name, bytes] of requests) {
    checkRefusal(t, await exchangeOne(port, bytes, { halfClose: true }), malformed, name)
  }
  t.strictSame(await balances(api), opening)
  t.strictSame(await exchange(port, '', { halfClose: true }), [], 'nothing sent, nothing answered')
  checkRefusal(t, await exchangeOne(port, 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n'), malformed, 'no tunnel')
})

t.test('a CONNECT ends its connection, whatever the client does then', async (t) => {
  const { server } = api.app
  const connections = () =>
    new Promise<number>((resolve, reject) => {
      server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)))
    })
  const before = await connections()
  const request = 'CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n'
  for (let n = 0; n < 20; n += 1) {
    const rude = connect(port, '127.0.0.1')
    await once(rude, 'connect')
    rude.write(request, () => rude.resetAndDestroy())
    await once(rude, 'close')
  }
  const lasting = connect({ port, host: '127.0.0.1', allowHalfOpen: true }).resume()
  lasting.write(request)
  await once(lasting, 'end')
  await until('the server has let go of them', async () => (await connections()) <= before)
  lasting.destroy()
  t.equal((await call('GET', '/livez')).status, 200)
})

t.test('a Content-Length that is too short: the request stands alone, and what follows is no request', async (t) => {
  const answers = await exchange(port, `${transferHead}Content-Length: 2\r\n\r\n{}${body}`)
  t.equal(answers.length, 2)
  const [first, second] = answers as [RawAnswer, RawAnswer]
  checkRefusal(t, first, [400, 'invalid-input'], 'the first two bytes are the body')
  checkRefusal(t, second, malformed, 'the others')
  t.strictSame(await balances(api), opening)
})

t.test('pipelined requests are answered in their order, each by itself', async (t) => {
  const request = (path: string, ...fields: string[]) =>
    ['GET ', path, ' HTTP/1.1\r\n', ...['Host: x', ...fields].map((field) => `${field}\r\n`), '\r\n'].join('')
  const pipeline = [request('/openapi.json'), request('/accounts', bearer), request('/accounts'), request('/nowhere')]
  const answers = await exchange(port, pipeline.join(''), { answers: 4 })
  t.strictSame(
    answers.map(({ status }) => status),
    [200, 200, 401, 404],
    'the first takes longest, and credentials are those of one request only',
  )
  t.strictSame(
    answers.slice(0, 2).map(({ body }) => ['openapi' in body, 'accounts' in body]),
    [
      [true, false],
      [false, true],
    ],
  )
})

t.test('behind a refusal that ends the connection nothing is carried out', async (t) => {
  const whole = rawRequest('POST', '/transfers', [`Authorization: Bearer ${unused}`, json], body)
  const tooLarge = `${transferHead}Content-Length: 20000\r\n\r\n${whole}`
  checkRefusal(t, await exchangeOne(port, tooLarge), [413, 'payload-too-large'])
  const garbage = `GET /livez HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n${whole}`
  checkRefusal(t, await exchangeOne(port, garbage), malformed)
  const refused: [string, string, Expected][] = [
    ['no JSON', `${transferHead}Content-Length: 1\r\n\r\n{`, [400, 'invalid-input']],
    ['no Host', 'GET /nowhere HTTP/1.1\r\n\r\n', malformed],
  ]
  for (const [name, first, expected] of refused) {
    const answer = await exchangeOne(port, first + whole)
    checkRefusal(t, answer, expected, name)
    t.equal(answer.headers.get('connection'), 'close', name)
  }
  const inBody = rawRequest('PUT', '/accounts', [json], whole)
  checkRefusal(t, await exchangeOne(port, inBody), [405, 'method-not-allowed'], 'a request in a body is none')
  t.strictSame(await balances(api), opening)
})

t.test(
  'RFC 9110 §6.5.1, §7.8: trailer fields are no header fields, and no other protocol is switched to',
  async (t) => {
    const chunked = `${json}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0`
    const late = `POST /transfers HTTP/1.1\r\nHost: x\r\n${chunked}\r\nAuthorization: Bearer ${unused}\r\n\r\n`
    checkRefusal(t, await exchangeOne(port, late, { answers: 1 }), [401, 'missing-token'])
    for (const protocol of ['websocket', 'h2c', 'TLS/1.2, HTTP/1.1']) {
      const fields = [
        'Upgrade: ',
        protocol,
        '\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n',
      ]
      const head = `GET /accounts HTTP/1.1\r\nHost: x\r\n${fields.join('')}`
      checkRefusal(t, await exchangeOne(port, `${head}\r\n`, { answers: 1 }), [401, 'missing-token'], protocol)
      t.equal((await exchangeOne(port, `${head}${bearer}\r\n\r\n`, { answers: 1 })).status, 200, protocol)
    }
  },
)

t.test('field names of prototypes and unknown expectations change nothing', async (t) => {
  const fields = ['__proto__: x', 'constructor: x', 'toString: x', 'hasOwnProperty: x', 'Expect: a miracle']
  t.equal((await exchangeOne(port, rawRequest('GET', '/accounts', [bearer, ...fields]))).status, 200)
  checkRefusal(t, await exchangeOne(port, rawRequest('GET', '/accounts', fields)), [401, 'missing-token'])
})

t.test('2000 fields in between do not hide a second Authorization field', async (t) => {
  const fields = [bearer, ...Array(2100).fill('A:'), 'Authorization: Basic x']
  checkRefusal(t, await exchangeOne(port, rawRequest('GET', '/accounts', fields)), [400, 'invalid-request'])
})

t.test(
  'RFC 9110 §15.5.6: a method that the path does not have is 405 with Allow, with or without a token',
  async (t) => {
    const paths: [string, string, string[]][] = [
      ['/accounts', 'GET, HEAD', ['POST', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND', 'OPTIONS', 'SEARCH', 'LOCK']],
      ['/accounts/x/transactions', 'GET, HEAD', ['POST', 'DELETE', 'OPTIONS', 'PURGE']],
      ['/transfers', 'POST', ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']],
      ['/transfers/x', 'GET, HEAD', ['POST', 'DELETE']],
      ['/livez', 'GET, HEAD', ['POST', 'OPTIONS']],
      ['/.well-known/oauth-protected-resource', 'GET, HEAD', ['POST', 'OPTIONS']],
      ['/problems/not-found', 'GET, HEAD', ['POST']],
      ['/docs', 'GET, HEAD', ['POST', 'DELETE']],
    ]
    for (const [path, allow, methods] of paths) {
      for (const method of methods) {
        for (const fields of [[], [bearer]]) {
          const answer = await exchangeOne(port, rawRequest(method, path, fields))
          t.equal(answer.headers.get('allow'), allow, `${method} ${path}`)
          if (method === 'HEAD') t.equal(answer.status, 405)
          else checkRefusal(t, answer, [405, 'method-not-allowed'], `${method} ${path}`)
        }
      }
    }
    for (const [field, text] of [
      [json, '{'],
      ['Content-Type: text/xml', '<a/>'],
      [json, 'x'.repeat(17_000)],
    ] as const) {
      for (const method of ['PUT', 'DELETE', 'PATCH', 'PROPFIND']) {
        const answer = await exchangeOne(port, rawRequest(method, '/accounts', [field], text))
        checkRefusal(
          t,
          answer,
          [405, 'method-not-allowed'],
          `${method} with ${text.slice(0, 5)}: the body does not matter`,
        )
      }
    }
    checkRefusal(t, await exchangeOne(port, rawRequest('PUT', '/nowhere', [json], '{')), [404, 'unknown-path'])
  },
)

t.test('HEAD has the header fields of GET and no body', async (t) => {
  for (const [path, fields, status] of [
    ['/accounts', [bearer], 200],
    ['/accounts', [], 401],
    ['/nowhere', [], 404],
    ['/livez', [], 200],
    ['/docs', [], 200],
  ] as const) {
    // Both wait until the connection is closed: a body behind the fields would be found.
    const [head, get] = [
      await exchangeOne(port, rawRequest('HEAD', path, fields)),
      await exchangeOne(port, rawRequest('GET', path, fields)),
    ]
    t.strictSame([head.status, get.status], [status, status], path)
    const lasting = ({ fields }: RawAnswer) => fields.filter(([name]) => name !== 'date')
    t.strictSame(lasting(head), lasting(get), path)
    t.ok(Number(head.headers.get('content-length')) > 0, `${path}: the length is that of the body`)
  }
})

t.test('a connection is closed when the client asks for it, on every kind of route', async (t) => {
  for (const path of ['/livez', '/accounts', '/nowhere', '/%', '/problems/not-found', '/docs', '/openapi.json']) {
    t.equal((await exchangeOne(port, rawRequest('GET', path))).headers.get('connection'), 'close', path)
  }
})

t.test('a name that is no problem has no page', async (t) => {
  for (const name of [
    '',
    'nope',
    '__proto__',
    'constructor',
    'toString',
    '%3Cscript%3E',
    'Not-Found',
    'not-found%00',
  ]) {
    checkRefusal(t, await call('GET', `/problems/${name}`), [404, 'unknown-path'], JSON.stringify(name))
  }
})

t.test('after all this the unused token still works and no other money has moved', async (t) => {
  t.strictSame(await balances(api), opening)
  const answer = await call('POST', '/transfers', { token: unused, json: transferBody() })
  t.equal(answer.status, 201)
  t.equal((await call('GET', '/livez')).status, 200)
})

t.test('garbage behind whole requests: each gets its own answer first, then comes the refusal', async (t) => {
  const whole = `GET /accounts HTTP/1.1\r\nHost: api.example.com\r\n${bearer}\r\n\r\n`
  for (const count of [1, 2, 3, 8]) {
    const answers = await exchange(port, `${whole.repeat(count)}\x00garbage\r\n\r\n`)
    const last = answers.pop() as (typeof answers)[number]
    t.strictSame(
      answers.map(({ status }) => status),
      Array(count).fill(200),
    )
    checkRefusal(t, last, malformed)
  }
})

t.test('a client that resets the connection in the middle is not answered, and the server goes on', async (t) => {
  const accepted = once(api.app.server, 'connection') as Promise<[Socket]>
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /transfers HTTP/1.1\r\nHost: x\r\n')
  const [connection] = await accepted
  const closed = new Promise((resolve) => connection.once('close', resolve))
  await until('the server has read that', () => connection.bytesRead > 0)
  socket.resetAndDestroy()
  await closed
  t.equal(connection.bytesWritten, 0)
  t.equal((await exchangeOne(port, rawRequest('GET', '/livez'))).status, 200)
})

t.test('the documentation passes on no connection fields, and is the same whatever the query', async (t) => {
  for (const path of ['/openapi.json', '/openapi.yaml', '/docs/static/swagger-ui.css']) {
    const [first, again] = [
      await exchangeOne(port, rawRequest('GET', path)),
      await exchangeOne(port, rawRequest('GET', `${path}?again`)),
    ]
    t.strictSame([first.status, again.status], [200, 200], path)
    t.equal(first.text, again.text)
    const hop = /^(?:connection|keep-alive|transfer-encoding|upgrade|te|trailer)$/
    t.strictSame(
      first.fields.filter(([name]) => hop.test(name)),
      [['connection', 'close']],
      path,
    )
    t.equal(first.headers.get('cache-control'), 'no-store')
  }
})
