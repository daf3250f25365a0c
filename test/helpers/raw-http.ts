import { connect } from 'node:net'

/** One answer as it stood on the wire. */
export interface RawAnswer {
  status: number
  headers: Headers
  /** Every field line in order, the name in lower case. */
  fields: [name: string, value: string][]
  text: string
  /** The body when it is JSON, else empty. */
  body: Record<string, unknown>
}

const deadlineMs = 5000

/** The bytes of a request that asks for the connection to be closed. `Content-Length` is added when there is a body. */
export function rawRequest(method: string, target: string, fields: readonly string[] = [], body = ''): string {
  const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: api.example.com', 'Connection: close', ...fields, ...length]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/**
 * Sends bytes over a connection of their own and returns every answer that came back before the server closed it. Rejects
 * when the server keeps it open.
 *
 * @param halfClose whether to end our side after the bytes, as a client that goes away does
 */
export async function exchange(port: number, bytes: string, { halfClose = false } = {}): Promise<RawAnswer[]> {
  const chunks: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      if (halfClose) socket.end(bytes, 'latin1')
      else socket.write(bytes, 'latin1')
    })
    socket.setTimeout(deadlineMs, () => socket.destroy(new Error('the server kept the connection open')))
    socket.on('data', (chunk) => chunks.push(chunk))
    // A server that closes while we still write resets the connection; what it said before counts.
    socket.on('error', (error: NodeJS.ErrnoException) => (/^E[A-Z]+$/.test(error.code ?? '') ? resolve() : reject(error)))
    socket.on('close', () => resolve())
  })
  return parseAnswers(Buffer.concat(chunks).toString('latin1'), bytes.startsWith('HEAD '))
}

/** The same for bytes that must have exactly one answer. */
export async function exchangeOne(port: number, bytes: string, options: { halfClose?: boolean } = {}): Promise<RawAnswer> {
  const [answer, ...more] = await exchange(port, bytes, options)
  if (answer === undefined || more.length > 0) throw new Error(`expected one answer, got ${answer ? more.length + 1 : 0}`)
  return answer
}

/** Splits what a server sent into answers. Each but those to HEAD must have `Content-Length`, unless it has no body. */
export function parseAnswers(wire: string, bodiless = false): RawAnswer[] {
  const answers: RawAnswer[] = []
  for (let rest = wire; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n')
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n')
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]
    if (end < 0 || status === undefined) throw new Error(`no HTTP answer: ${JSON.stringify(rest.slice(0, 80))}`)
    const fields = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
    const headers = new Headers(fields)
    const length = bodiless ? 0 : Number(headers.get('content-length') ?? 0)
    const text = rest.slice(end + 4, end + 4 + length)
    const isJson = !bodiless && /json$/.test(headers.get('content-type') ?? '')
    answers.push({ status: Number(status), headers, fields, text, body: isJson ? JSON.parse(text) : {} })
    rest = rest.slice(end + 4 + length)
  }
  return answers
}
