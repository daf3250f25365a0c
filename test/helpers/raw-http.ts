import { connect, type Socket } from 'node:net'

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

export interface ExchangeOptions {
  /** Ends our side after the bytes, as a client that goes away does. */
  halfClose?: boolean
  /** How many answers to wait for; until the server closes the connection when left out. */
  answers?: number
  /** Called when everything but the last byte was written; that byte follows when it resolves. */
  beforeLastByte?: () => Promise<void>
  /** Sent a byte at a time after the bytes, over and over, for as long as the connection is open. */
  drip?: string
}

const deadlineMs = 5000
const dripIntervalMs = 20

/**
 * The bytes, one a character, of a request that asks for the connection to be closed. `Content-Length` is added when there
 * is a body.
 */
export function rawRequest(method: string, target: string, fields: readonly string[] = [], body = ''): string {
  const length = body === '' ? [] : [`Content-Length: ${body.length}`]
  const lines = [`${method} ${target} HTTP/1.1`, 'Host: api.example.com', 'Connection: close', ...fields, ...length]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/** Sends bytes, one a character, over a connection of their own and returns what came back. Rejects when the server stays silent. */
export async function exchange(port: number, bytes: string, options: ExchangeOptions = {}): Promise<RawAnswer[]> {
  const bodiless = bytes.startsWith('HEAD ')
  let wire = ''
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      const { beforeLastByte, drip } = options
      if (options.halfClose === true) socket.end(bytes, 'latin1')
      else if (beforeLastByte === undefined) socket.write(bytes, 'latin1')
      else
        socket.write(
          bytes.slice(0, -1),
          'latin1',
          () => void beforeLastByte().then(() => socket.write(bytes.slice(-1))),
        )
      if (drip !== undefined) dripInto(socket, drip)
    })
    socket.setNoDelay()
    socket.setEncoding('latin1')
    socket.setTimeout(deadlineMs, () => {
      socket.destroy()
      reject(new Error('the server kept the connection open'))
    })
    socket.on('data', (text: string) => {
      wire += text
      if (parseAnswers(wire, bodiless).answers.length === options.answers) socket.destroy()
    })
    // A server that closes while we still write resets the connection; what it said before counts.
    socket.on('error', () => undefined)
    socket.on('close', () => resolve())
  })
  const { answers, rest } = parseAnswers(wire, bodiless)
  if (rest !== '') throw new Error(`no whole HTTP answer: ${JSON.stringify(rest.slice(0, 80))}`)
  return answers
}

function dripInto(socket: Socket, bytes: string): void {
  let sent = 0
  const timer = setInterval(() => {
    socket.write(bytes[sent % bytes.length] as string, 'latin1')
    sent += 1
  }, dripIntervalMs)
  socket.once('close', () => clearInterval(timer))
}

/** The same for bytes that must have exactly one answer. */
export async function exchangeOne(port: number, bytes: string, options: ExchangeOptions = {}): Promise<RawAnswer> {
  const [answer, ...more] = await exchange(port, bytes, options)
  if (answer === undefined || more.length > 0)
    throw new Error(`expected one answer, got ${answer ? more.length + 1 : 0}`)
  return answer
}

/** Splits what a server sent into whole answers and a rest. All but those to HEAD have `Content-Length`, or no body. */
function parseAnswers(wire: string, bodiless: boolean): { answers: RawAnswer[]; rest: string } {
  const answers: RawAnswer[] = []
  for (let rest = wire; ; ) {
    const end = rest.indexOf('\r\n\r\n')
    const [statusLine = '', ...lines] = rest.slice(0, Math.max(end, 0)).split('\r\n')
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]
    if (end < 0 || status === undefined) return { answers, rest }
    const fields = lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
    const headers = new Headers(fields)
    const bodyEnd = end + 4 + (bodiless ? 0 : Number(headers.get('content-length') ?? 0))
    if (rest.length < bodyEnd) return { answers, rest }
    const text = rest.slice(end + 4, bodyEnd)
    const isJson = text !== '' && /json(?:;|$)/.test(headers.get('content-type') ?? '')
    answers.push({ status: Number(status), headers, fields, text, body: isJson ? JSON.parse(text) : {} })
    rest = rest.slice(bodyEnd)
  }
}
