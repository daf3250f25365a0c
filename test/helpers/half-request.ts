import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { transferBody } from './test-api.js'

/** A transfer whose body is still on its way. */
export interface HalfRequest {
  socket: Socket
  /** Sends the rest. Resolves to the answer; to what there is of it when the connection ends before. */
  finish(): Promise<string>
}

/** Begins a transfer and keeps half of its body back. Resolves once the server has accepted the request. */
export async function beginTransfer(url: string, token: string): Promise<HalfRequest> {
  const body = JSON.stringify(transferBody())
  const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('utf8')
  const head = [
    'POST /transfers HTTP/1.1',
    'host: api.example.com',
    `authorization: Bearer ${token}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
    'expect: 100-continue',
  ]
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  const [interim] = await once(socket, 'data')
  if (interim !== 'HTTP/1.1 100 Continue\r\n\r\n') throw new Error(`no interim answer: ${interim}`)
  socket.write(body.slice(0, 10))
  const finish = async (): Promise<string> => {
    let answer = ''
    const answered = new Promise<void>((resolve) => {
      socket.on('data', (text: string) => {
        answer += text
        if (answer.endsWith('}')) resolve()
      })
      socket.on('close', () => resolve())
    })
    // A connection that was cut takes nothing more; what was answered before counts.
    socket.on('error', () => undefined)
    if (!socket.destroyed) socket.write(body.slice(10))
    else return answer
    await answered
    return answer
  }
  return { socket, finish }
}

/** Whether nobody listens at an address any more. Sends nothing, because a server that closes may not answer. */
export async function refusesConnections(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname.replaceAll(/[[\]]/g, ''))
  try {
    await once(socket, 'connect')
    return false
  } catch {
    return true
  } finally {
    socket.destroy()
  }
}
