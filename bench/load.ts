import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface LoadOptions {
  port: number
  /** Whole HTTP/1.1 requests, each sent once, in order. */
  requests: readonly Buffer[]
  /** So many of them go first and are not measured. */
  warmUp: number
  /** What every answer must begin with, such as `HTTP/1.1 201 `; any other fails the run and is shown. */
  expected: string
  /** Whether a whole answer, head and body as latin1, is right; left out: its beginning will do. */
  holds?: (answer: string) => boolean
}

/** Keep-alive connections, each with at most one request under way. */
export const connectionCount = 64

const answerDeadlineMs = 30_000

/** A closed loop: each connection sends its next request once it has its answer. Resolves to requests a second. */
export async function measureThroughput(options: LoadOptions): Promise<number> {
  const { requests, warmUp } = options
  let answered = 0
  let startedMs = 0
  await run(options, async (send) => {
    await send()
    answered += 1
    if (answered === warmUp) startedMs = performance.now()
  })
  return ((requests.length - warmUp) * 1000) / (performance.now() - startedMs)
}

/**
 * An open loop: requests are due at a fixed rate, however slow the answers are. Resolves to the latency of each in
 * milliseconds, from when it was due (or went, within the millisecond before), so that waiting for a free connection counts (no
 * coordinated omission).
 */
export async function measureLatency(options: LoadOptions & { perSecond: number }): Promise<number[]> {
  const { warmUp, perSecond } = options
  const latenciesMs: number[] = []
  const startedMs = performance.now()
  await run(options, async (send, index) => {
    const dueMs = startedMs + (index * 1000) / perSecond
    // Timers count whole milliseconds: a request goes up to one early rather than late.
    const waitMs = Math.floor(dueMs - performance.now())
    if (waitMs > 0) await delay(waitMs)
    const sinceMs = Math.min(dueMs, performance.now())
    await send()
    if (index >= warmUp) latenciesMs.push(performance.now() - sinceMs)
  })
  return latenciesMs
}

/** The value that this part of the values does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * part) - 1] as number
}

/** Sends one request on a connection of its own and resolves to the whole answer, head and body, as latin1. */
export async function exchange(port: number, request: Buffer): Promise<string> {
  const connection = await Connection.open(port)
  try {
    return await connection.exchange(request)
  } finally {
    connection.close()
  }
}

async function run(
  { port, requests, expected, holds = () => true }: LoadOptions,
  perform: (send: () => Promise<void>, index: number) => Promise<void>,
): Promise<void> {
  const connections = await Promise.all(Array.from({ length: connectionCount }, () => Connection.open(port)))
  let next = 0
  const serve = async (connection: Connection): Promise<void> => {
    while (next < requests.length) {
      const index = next
      next += 1
      await perform(async () => {
        const answer = await connection.exchange(requests[index] as Buffer)
        if (!answer.startsWith(expected) || !holds(answer)) throw new Error(`expected ${expected}, got ${answer}`)
      }, index)
    }
  }
  try {
    await Promise.all(connections.map(serve))
  } finally {
    for (const connection of connections) connection.close()
  }
}

/**
 * One keep-alive connection. It reads status line and Content-Length, and neither chunks nor trailers. It fails when nothing
 * comes for 30 s, and at once when it was closed.
 */
class Connection {
  readonly #socket: Socket
  #received = ''
  #failure: Error | undefined
  #settle: { resolve: (answer: string) => void; reject: (error: unknown) => void } | undefined

  private constructor(socket: Socket) {
    this.#socket = socket.setNoDelay().setEncoding('latin1')
    socket.on('data', (text) => this.#receive(String(text)))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the server closed a connection')))
    socket.setTimeout(answerDeadlineMs, () => {
      if (this.#settle !== undefined) socket.destroy(new Error(`no answer within ${answerDeadlineMs} ms`))
    })
  }

  static async open(port: number): Promise<Connection> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new Connection(socket)
  }

  /** Sends a request and resolves to the whole answer, head and body, as latin1. */
  exchange(request: Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      this.#settle = { resolve, reject }
      this.#socket.write(request)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#settle?.reject(this.#failure)
  }

  #receive(text: string): void {
    this.#received += text
    const headEnd = this.#received.indexOf('\r\n\r\n') + 4
    if (headEnd < 4) return
    const bodyLength = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(this.#received)?.[1])
    if (!(this.#received.length < headEnd + bodyLength)) {
      const answer = this.#received
      this.#received = ''
      const settle = this.#settle
      this.#settle = undefined
      settle?.resolve(answer)
    }
  }
}
