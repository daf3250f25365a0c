import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { findLastingPort } from './external-server.js'

/** What becomes of a chunk: it is delivered, dropped, or its connection is cut instead of or right after its delivery. */
export type Verdict = 'pass' | 'swallow' | 'cut-before' | 'cut-after'

/** Judges each chunk as it was read from a socket; a message of the protocol may be in several, or share one with others. */
export type Rule = (chunk: Buffer, connection: ProxiedConnection) => Verdict

/** Finds the request that a fault is for: a text in it, found across chunks as well, or a function of one chunk. */
export type RequestMatch = string | ((chunk: Buffer) => boolean)

/** One client's connection, and ours to the target on its behalf. */
export class ProxiedConnection {
  readonly client: Socket
  readonly server: Socket
  /** No byte passes any more in either direction. */
  sealed = false

  constructor(client: Socket, server: Socket) {
    this.client = client
    this.server = server
  }

  /** Resets both sides (RST). What was written to a socket before still reaches its peer. A side that was ended is only closed. */
  cut(): void {
    this.sealed = true
    for (const socket of [this.client, this.server]) {
      // Node 20 never closes a socket that is reset while its end is being sent, and then spins when the process ends.
      if (socket.connecting || socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }
}

/** Forwards bytes to one target, and breaks that in the ways of a network. It knows no protocol, and sees no text inside TLS. */
export class TcpProxy {
  readonly host = '127.0.0.1'
  readonly port: number
  /** How long each chunk is under way, in each direction; of chunks that are still read. Their order is kept. */
  delayMs = 0
  readonly #target: { host: string; port: number }
  readonly #server: Server
  readonly #connections = new Set<ProxiedConnection>()
  readonly #clientRules = new Set<Rule>()
  readonly #serverRules = new Set<Rule>()
  #closed = Promise.resolve()
  #thawed = Promise.resolve()
  #thaw: (() => void) | undefined

  /** Does not listen yet: `heal` makes it. */
  constructor(port: number, target: { host: string; port: number }) {
    this.port = port
    this.#target = target
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
  }

  /** A URL of the target, turned into the same by way of this proxy. */
  through(url: string): string {
    const proxied = new URL(url)
    proxied.host = `${this.host}:${this.port}`
    return proxied.href
  }

  /** Cuts all connections, and refuses new ones until `heal`. */
  cut(): void {
    if (this.#server.listening) this.#closed = new Promise((resolve) => this.#server.close(() => resolve()))
    for (const connection of this.#connections) connection.cut()
  }

  /** Accepts connections again after `cut`. Resolves once it does. */
  async heal(): Promise<void> {
    await this.#closed
    await new Promise<void>((resolve) => this.#server.listen(this.port, this.host, resolve))
  }

  /** Reads nothing more from either side, the end of a connection included, but keeps all open and accepts new ones. */
  freeze(): void {
    if (this.#thaw !== undefined) return
    this.#thawed = new Promise((resolve) => {
      this.#thaw = resolve
    })
    for (const { client, server } of this.#connections) {
      client.pause()
      server.pause()
    }
  }

  /** Goes on after `freeze`, with what has come meanwhile. */
  thaw(): void {
    this.#thaw?.()
    this.#thaw = undefined
    for (const { client, server } of this.#connections) {
      client.resume()
      server.resume()
    }
  }

  /** Tells one side of every connection that the other has ended (FIN), and drops what would follow. The other way stays open. */
  halfClose(side: 'client' | 'server'): void {
    for (const connection of this.#connections) connection[side].end()
  }

  /** Judges what clients send; the first rule that does not let it pass decides. Returns how to drop the rule. */
  onClientBytes(rule: Rule): () => void {
    this.#clientRules.add(rule)
    return () => this.#clientRules.delete(rule)
  }

  /** The same for what the target sends. */
  onServerBytes(rule: Rule): () => void {
    this.#serverRules.add(rule)
    return () => this.#serverRules.delete(rule)
  }

  /**
   * Cuts the connection of the next matching request instead of delivering it, once; other connections live on. Resolves
   * when it did. Of the request the target has at most what came in earlier chunks, never its end.
   */
  cutBeforeRequest(matches: RequestMatch): Promise<void> {
    const isMatch = matcher(matches)
    return new Promise((resolve) => {
      const drop = this.onClientBytes((chunk, connection) => {
        if (!isMatch(chunk, connection)) return 'pass'
        drop()
        resolve()
        return 'cut-before'
      })
    })
  }

  /**
   * Delivers the next matching request, swallows what the target sends from then on, and cuts the connection once that is
   * an answer, once; other connections live on. Resolves when it did. Unless `isAnswer` says otherwise about all that was
   * swallowed, any byte is an answer. For PostgreSQL that means committed as long as the connection was idle before, and
   * the statement is one of its own, sends no notice and answers within 8 kB: else pass `isReadyForQuery`.
   */
  cutBeforeResponse(matches: RequestMatch, isAnswer = isAnything): Promise<void> {
    return this.#onceAnswered(matches, isAnswer, (connection) => connection.cut())
  }

  /** The same, but the client is told that the target has ended (FIN) while its own way stays open. */
  halfCloseBeforeResponse(matches: RequestMatch, isAnswer = isAnything): Promise<void> {
    return this.#onceAnswered(matches, isAnswer, ({ client }) => client.end())
  }

  #onceAnswered(
    matches: RequestMatch,
    isAnswer: (swallowed: Buffer) => boolean,
    act: (connection: ProxiedConnection) => void,
  ): Promise<void> {
    const isMatch = matcher(matches)
    return new Promise((resolve) => {
      const drop = this.onClientBytes((request, connection) => {
        if (!isMatch(request, connection)) return 'pass'
        drop()
        let swallowed = Buffer.alloc(0)
        const dropAnswers = this.onServerBytes((chunk, sender) => {
          if (sender !== connection) return 'pass'
          swallowed = Buffer.concat([swallowed, chunk])
          if (isAnswer(swallowed)) {
            dropAnswers()
            act(connection)
            resolve()
          }
          return 'swallow'
        })
        return 'pass'
      })
    })
  }

  #accept(client: Socket): void {
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    const connection = new ProxiedConnection(client, server)
    this.#connections.add(connection)
    if (this.#thaw !== undefined) {
      client.pause()
      server.pause()
    }
    this.#relay(connection, client, server, this.#clientRules)
    this.#relay(connection, server, client, this.#serverRules)
  }

  #relay(connection: ProxiedConnection, from: Socket, to: Socket, rules: ReadonlySet<Rule>): void {
    let previous = Promise.resolve()
    const inTurn = (act: () => void): void => {
      const dueMs = performance.now() + this.delayMs
      previous = previous.then(async () => {
        const leftMs = dueMs - performance.now()
        if (leftMs > 0) await delay(Math.ceil(leftMs), undefined, { ref: false })
        await this.#thawed
        if (!connection.sealed) act()
      })
    }
    from.on('data', (chunk: Buffer) => inTurn(() => deliver(connection, chunk, to, rules)))
    from.on('end', () => inTurn(() => to.end()))
    // The peer has reset the connection, or the target refuses it: the other side learns of it in the same way.
    from.on('error', () => connection.cut())
    from.on('close', () => {
      if (to.destroyed) this.#connections.delete(connection)
    })
  }
}

function deliver(connection: ProxiedConnection, chunk: Buffer, to: Socket, rules: ReadonlySet<Rule>): void {
  let verdict: Verdict = 'pass'
  for (const rule of rules) {
    verdict = rule(chunk, connection)
    if (verdict !== 'pass') break
  }
  if (verdict === 'cut-before') connection.cut()
  if (verdict === 'cut-after') connection.sealed = true
  if ((verdict === 'pass' || verdict === 'cut-after') && to.writable)
    to.write(chunk, () => {
      if (verdict === 'cut-after') connection.cut()
    })
}

/** A text may begin in one chunk and end in the next, so the end of each is kept, which is too short to match again. */
function matcher(matches: RequestMatch): (chunk: Buffer, connection: ProxiedConnection) => boolean {
  if (typeof matches === 'function') return matches
  const marker = Buffer.from(matches)
  const ends = new WeakMap<ProxiedConnection, Buffer>()
  return (chunk, connection) => {
    const bytes = Buffer.concat([ends.get(connection) ?? Buffer.alloc(0), chunk])
    ends.set(connection, bytes.subarray(Math.max(0, bytes.length - marker.length + 1)))
    return bytes.includes(marker)
  }
}

function isAnything({ length }: Buffer): boolean {
  return length > 0
}

/** Whether a PostgreSQL server's bytes end with ReadyForQuery outside a transaction: the statement before has committed or failed. */
export function isReadyForQuery(swallowed: Buffer): boolean {
  return swallowed.subarray(-6).equals(Buffer.from('Z\0\0\0\x05I'))
}

/** Starts a proxy in front of a port, that passes everything at first. At the end of the test it cuts all connections. */
export async function startTcpProxy(
  t: Test,
  { host = '127.0.0.1', port }: { host?: string; port: number },
): Promise<TcpProxy> {
  const proxy = new TcpProxy(await findLastingPort(), { host, port })
  t.teardown(() => proxy.cut())
  await proxy.heal()
  return proxy
}
