import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'

/** What a client knows after it sent a transfer. */
export type Reply =
  | { kind: 'answered'; status: number; identity: string; problem: string; repeated: boolean }
  /** The connection broke, or there was none: what was asked for may have happened. */
  | { kind: 'broken' }
  /** Neither an answer nor an end within the deadline. */
  | { kind: 'hung' }

export interface TransferRequest {
  token: string
  key: string | undefined
  body: string
}

/** A transfer is answered within about two seconds; on a busy machine this is more than enough. */
const patienceMs = 8000
const settleMs = 15_000
const retryMs = 20

/** Sends transfers over connections that are kept, and never sends one again by itself. */
export class TransferClient {
  readonly #agent = new Agent({ keepAlive: true })
  readonly #deadlineMs: number
  #closed = false

  /** @param deadlineMs after how long without an answer a request has hung */
  constructor(deadlineMs = patienceMs) {
    this.#deadlineMs = deadlineMs
  }

  /** Ends all connections. What is being repeated is not sent again. */
  close(): void {
    this.#closed = true
    this.#agent.destroy()
  }

  /** Sends a transfer once. `identity` names what was decided: the transfer, or the occurrence of a decline. */
  async send(url: string, { token, key, body }: TransferRequest): Promise<Reply> {
    const deadline = AbortSignal.timeout(this.#deadlineMs)
    let response: IncomingMessage
    let json: string
    try {
      const outgoing = request(`${url}/transfers`, {
        method: 'POST',
        agent: this.#agent,
        signal: deadline,
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          ...(key === undefined ? {} : { 'idempotency-key': key }),
        },
      })
      outgoing.end(body)
      ;[response] = (await once(outgoing, 'response')) as [IncomingMessage]
      json = await text(response)
    } catch {
      return { kind: deadline.aborted ? 'hung' : 'broken' }
    }
    const answer = (json === '' ? {} : JSON.parse(json)) as { transferId?: string; instance?: string; type?: string }
    return {
      kind: 'answered',
      status: response.statusCode as number,
      identity: answer.transferId ?? answer.instance ?? '',
      problem: answer.type?.replace(/^.*\//, '') ?? '',
      repeated: response.headers['idempotency-replayed'] === 'true',
    }
  }

  /** Sends a transfer until the answer is for good: not a broken connection, 409, 502 or 503. */
  async settle(url: string, transfer: TransferRequest, note: (reply: Reply) => void): Promise<Reply> {
    const giveUpMs = performance.now() + settleMs
    for (;;) {
      const reply = await this.send(url, transfer)
      note(reply)
      const final = reply.kind === 'answered' && ![409, 502, 503].includes(reply.status)
      if (final || reply.kind === 'hung' || this.#closed || performance.now() > giveUpMs) return reply
      await delay(retryMs)
    }
  }
}

/** A reply in a few words, for messages. */
export function describeReply(reply: Reply): string {
  return reply.kind === 'answered' ? `${reply.status} ${reply.problem}` : reply.kind
}
