import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import t, { type Test } from 'tap'
import { answer, checkAnswers, refusal } from '../../bench/answers.js'
import { exchange, measureThroughput } from '../../bench/load.js'

const signature = 'c2lnbmF0dXJl'
const request = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer aGVhZA.Ym9keQ.${signature}\r\n\r\n`)
const expected = answer({ right: true })
const isGood = (authorization: string | undefined) => authorization?.endsWith(signature) === true

async function serve(t: Test, listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function serveJson(t: Test, decide: (authorization: string | undefined) => [number, object]): Promise<number> {
  return serve(t, ({ headers }, response) => {
    const [status, body] = decide(headers.authorization)
    const text = JSON.stringify(body)
    response.writeHead(status, { 'content-length': text.length }).end(text)
  })
}

t.test('the right answer passes when forged tokens are refused', async (t) => {
  const port = await serveJson(t, (given) => (isGood(given) ? [200, { right: true }] : [401, { detail: 'invalid' }]))
  await checkAnswers({ name: 'stub', port, authenticates: true, forgedDetail: 'invalid' }, request, expected)
  const other = { name: 'stub', port, authenticates: true, forgedDetail: 'expired' }
  await t.rejects(checkAnswers(other, request, expected), /takes a forged token/, 'another 401 does not do')
})

t.test('a wrong body, status or challenge fails', async (t) => {
  const port = await serveJson(t, () => [200, { right: false }])
  const asked = { name: 'stub', port, authenticates: false }
  await t.rejects(checkAnswers(asked, request, expected), /stub answers wrongly/)
  await t.rejects(checkAnswers(asked, request, refusal(403, 'insufficient_scope', '')), /stub answers wrongly/)
  const whole = { port, requests: [request], warmUp: 0, expected: 'HTTP/1.1 200 ', holds: () => false }
  await t.rejects(measureThroughput(whole), /expected HTTP\/1.1 200/)
})

t.test('whoever takes forged tokens fails, also as soon as the good one is known or used', async (t) => {
  const open = await serveJson(t, () => [200, { right: true }])
  await t.rejects(checkAnswers({ name: 'open', port: open, authenticates: true }, request, expected), /forged/)

  let known = false
  const remembering = await serveJson(t, (given) => {
    known ||= isGood(given)
    return known ? [200, { right: true }] : [401, {}]
  })
  const asked = { name: 'remembering', port: remembering, authenticates: true }
  await t.rejects(checkAnswers(asked, request, expected), /forged/)

  let used = false
  const spending = await serveJson(t, () => {
    const answer: [number, object] = used ? [401, { detail: 'already used' }] : [200, { right: true }]
    used = true
    return answer
  })
  await t.rejects(checkAnswers({ name: 'once', port: spending, authenticates: true }, request, expected), /forged/)
})

/** Gives each connection one answer, or none, and closes it. */
async function serveOnce(t: Test, text: string): Promise<number> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined).once('data', () => socket.end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

t.test('a closed connection fails, also when it was closed between two requests', async (t) => {
  await t.rejects(exchange(await serveOnce(t, ''), request), /closed/)
  const port = await serveOnce(t, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}')
  const requests = Array.from({ length: 200 }, () => request)
  await t.rejects(
    measureThroughput({ port, requests, warmUp: 1, expected: 'HTTP/1.1 200 ' }),
    /closed|EPIPE|ECONNRESET/,
  )
})
