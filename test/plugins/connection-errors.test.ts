import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import { answerConnectionError } from '#src/plugins/connection-errors.js'

async function connectPair(): Promise<{ client: Socket; connection: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [connection] = (await once(server, 'connection')) as [Socket]
  server.close()
  return { client, connection }
}

t.test('a connection that was reset, or whose sending side is closed, is destroyed without an answer', async (t) => {
  const cases: [string, (connection: Socket) => void][] = [
    ['ECONNRESET', () => undefined],
    ['HPE_INVALID_METHOD', (connection) => connection.end()],
  ]
  for (const [code, prepare] of cases) {
    const { client, connection } = await connectPair()
    client.resume()
    prepare(connection)
    answerConnectionError(Object.assign(new Error(code), { code }), connection, 'https://api.example.com')
    await once(client, 'close')
    t.equal(connection.destroyed, true)
    t.equal(client.bytesRead, 0, code)
  }
})
