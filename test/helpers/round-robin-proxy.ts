import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'
import type { Test } from 'tap'

/** A load balancer for plain HTTP, that gives each request to the next replica. */
export class RoundRobinProxy {
  /** Ports on the loopback, in turn; a test may change them at any time. */
  replicas: readonly number[]
  readonly #server: Server
  readonly #agent = new Agent({ keepAlive: true })
  #turn = 0

  /** Does not listen yet. */
  constructor(replicas: readonly number[]) {
    this.replicas = replicas
    this.#server = createServer((incoming, answer) => this.#forward(incoming, answer))
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async start(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
  }

  /** Ends at once, whatever is under way. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    this.#agent.destroy()
    await closed
  }

  /**
   * Header fields pass unchanged, in both directions. A replica that refuses or breaks is answered for with 502, and not
   * asked again, because what it was asked for may have happened. An answer that breaks off does so for the client too.
   */
  #forward(incoming: IncomingMessage, answer: ServerResponse): void {
    const port = this.replicas[this.#turn % this.replicas.length]
    this.#turn += 1
    if (port === undefined) {
      refuse(answer)
      return
    }
    const outgoing = request({
      host: '127.0.0.1',
      port,
      method: incoming.method,
      path: incoming.url,
      // Node's types lack the form of rawHeaders, which keeps order, case and repetitions.
      headers: incoming.rawHeaders as unknown as Record<string, string>,
      agent: this.#agent,
    })
    outgoing.on('response', (response) => {
      answer.sendDate = false
      answer.writeHead(response.statusCode as number, response.statusMessage, response.rawHeaders)
      pipeline(response, answer, () => undefined)
    })
    outgoing.on('error', () => {
      if (answer.headersSent || answer.destroyed) answer.destroy()
      else refuse(answer)
    })
    answer.on('close', () => {
      if (!answer.writableFinished) outgoing.destroy()
    })
    incoming.pipe(outgoing)
  }
}

function refuse(answer: ServerResponse): void {
  answer.writeHead(502, { 'content-length': '0' }).end()
}

/** Starts a load balancer in front of replicas on these ports. At the end of the test it stops. */
export async function startRoundRobinProxy(t: Test, ports: readonly number[]): Promise<RoundRobinProxy> {
  const proxy = new RoundRobinProxy(ports)
  t.teardown(() => proxy.stop())
  await proxy.start()
  return proxy
}
