import { mintFor } from '../helpers/server-process.js'
import { ibans, transferBody } from '../helpers/test-api.js'
import type { Expectation } from './kill-audit.js'
import type { Bank } from './kill-bank.js'
import { describeReply, type Reply, type TransferClient } from './kill-client.js'
import type { TransferPlan } from './kill-plan.js'

interface Token {
  jwtId: string
  text: string
}

/** More than anybody has. */
const centsTooMany = 1_000_000_000

/** One transfer that a client means to make: what it sent, what it was told, and whether the two can be true. */
export class IntendedTransfer {
  readonly name: string
  readonly key: string | undefined
  /** What no promise allows, in sentences. */
  readonly faults: string[] = []
  /** How often a connection broke before the answer. */
  broken = 0
  /** Whether anything was sent, so that it must end up decided. */
  begun = false
  readonly #plan: TransferPlan
  readonly #bank: Bank
  readonly #body: string
  readonly #acknowledged = new Set<string>()
  readonly #tokens: Token[] = []
  #decided: string | undefined

  /** @param name begins with what names the bank, and is unique; with a token that an earlier transfer has left over */
  constructor(bank: Bank, name: string, plan: TransferPlan, token?: Token) {
    this.name = name
    this.#bank = bank
    this.#plan = plan
    this.key = plan.keyed ? `${name}.key` : undefined
    const amount = (this.cents / 100).toFixed(2)
    this.#body = JSON.stringify(
      transferBody({
        debtorAccount: { iban: ibans[plan.debtor] },
        creditorAccount: { iban: ibans[plan.debtor === 'alice' ? 'bob' : 'alice'] },
        instructedAmount: { currency: 'EUR', amount },
        remittanceInformationUnstructured: name,
      }),
    )
    this.#tokens.push(token ?? this.#mint())
  }

  get cents(): number {
    return this.#plan.declined ? centsTooMany : this.#plan.cents
  }

  /** Whether a client was told what became of it. */
  get isAcknowledged(): boolean {
    return this.#decided !== undefined
  }

  get expectation(): Expectation {
    const { debtor, declined } = this.#plan
    const jwtIds = this.#tokens.map(({ jwtId }) => jwtId)
    const acknowledged = this.#acknowledged
    return { name: this.name, debtor, cents: this.cents, declined, key: this.key, jwtIds, acknowledged }
  }

  /** Makes the transfer as planned. Resolves to false as soon as a connection breaks. */
  async begin(client: TransferClient, url: string): Promise<boolean> {
    const { raced, repeated } = this.#plan
    const first = { token: this.#original, key: this.key }
    const replies = await this.race(client, url, raced ? 2 : 1)
    if (replies.some(({ kind }) => kind !== 'answered')) return false
    if (!repeated) return true
    const again = this.key === undefined ? first : { token: this.#fresh(), key: this.key }
    return (await this.#send(client, url, again)).kind === 'answered'
  }

  /** Sends it again and again, with the same token and key, until the answer is for good. */
  async insist(client: TransferClient, url: string): Promise<void> {
    this.begun = true
    await this.#settle(client, url, { token: this.#original, key: this.key })
  }

  /** Sends it so often at once, without trying again. Resolves to the replies. */
  async race(client: TransferClient, url: string, times: number): Promise<Reply[]> {
    this.begun = true
    const attempt = { token: this.#original, key: this.key }
    return Promise.all(Array.from({ length: times }, () => this.#send(client, url, attempt)))
  }

  /** Finds out what became of it after a fault, and has it decided if it was not. */
  async recover(client: TransferClient, url: string): Promise<void> {
    if (this.key === undefined) return this.#recoverToken(client, url)
    return this.#recoverKey(client, url, this.key)
  }

  /** Another transfer, with a fresh token that this one was repeated with: it was given back, so it is still worth a transfer. */
  takeSpare(): IntendedTransfer | undefined {
    const isOriginalSpent = this.#plan.recovery === 'same-token'
    const token = isOriginalSpent && this.#tokens.length > 1 ? this.#tokens.pop() : undefined
    return token && new IntendedTransfer(this.#bank, `${this.name}.spare`, { ...this.#plan, keyed: false }, token)
  }

  async #recoverKey(client: TransferClient, url: string, key: string): Promise<void> {
    const { recovery } = this.#plan
    const tokens = [
      ...(recovery === 'fresh-token' ? [] : [this.#original]),
      ...(recovery === 'same-token' ? [] : [this.#fresh()]),
    ]
    const replies = await Promise.all(tokens.map((token) => this.#settle(client, url, { token, key })))
    replies.push(await this.#settle(client, url, { token: this.#original, key }))
    for (const reply of replies) {
      if (reply.kind === 'answered' && !isDecision(reply)) this.#fault(`its key is answered ${describeReply(reply)}`)
    }
    const last = replies.at(-1)
    if (last?.kind === 'answered' && !last.repeated) this.#fault('its key was forgotten')
    if (recovery === 'same-token') await this.#expectSpent(client, url)
  }

  async #recoverToken(client: TransferClient, url: string): Promise<void> {
    const token = this.#original
    const wasAcknowledged = this.isAcknowledged
    const reply = await this.#settle(client, url, { token, key: undefined })
    if (reply.kind === 'answered' && reply.status === 401 && !wasAcknowledged) {
      // Spent, or only claimed in a ring: with a key the ledger itself says which, and books in the second case.
      const truth = await this.#settle(client, url, { token, key: `${this.name}.rescue` })
      if (!this.#bank.hasRedis && truth.kind === 'answered' && isDecision(truth))
        this.#fault('its token was refused although nothing had used it')
    }
    await this.#expectSpent(client, url)
  }

  async #expectSpent(client: TransferClient, url: string): Promise<void> {
    const reply = await this.#settle(client, url, { token: this.#original, key: undefined })
    if (reply.kind === 'answered' && reply.status !== 401)
      this.#fault(`its spent token is answered ${describeReply(reply)}`)
  }

  async #settle(client: TransferClient, url: string, attempt: { token: Token; key: string | undefined }) {
    const { token, key } = attempt
    const sent = { token: token.text, key, body: this.#body }
    const reply = await client.settle(url, sent, (any) => this.#note(any, key))
    if (reply.kind === 'broken' || (reply.kind === 'answered' && [409, 502, 503].includes(reply.status)))
      this.#fault(`has no answer for good: ${describeReply(reply)}`)
    return reply
  }

  async #send(client: TransferClient, url: string, { token, key }: { token: Token; key: string | undefined }) {
    const reply = await client.send(url, { token: token.text, key, body: this.#body })
    this.#note(reply, key)
    return reply
  }

  #note(reply: Reply, key: string | undefined): void {
    if (reply.kind === 'broken') this.broken += 1
    if (reply.kind === 'hung') this.#fault('a request has hung')
    if (reply.kind !== 'answered') return
    if (isDecision(reply)) this.#noteDecision(reply, key)
    else if (reply.status === 401 ? reply.problem !== 'token-already-used' || this.#isOwnKey(key) : !isPassing(reply))
      this.#fault(`is answered ${describeReply(reply)}`)
  }

  #noteDecision(reply: Reply & { kind: 'answered' }, key: string | undefined): void {
    if (reply.status === 201) this.#acknowledged.add(reply.identity)
    if ((reply.status === 422) !== this.#plan.declined) this.#fault(`is answered ${describeReply(reply)}`)
    const isSame = this.#decided === reply.identity && this.#isOwnKey(key)
    if (this.#decided !== undefined && !isSame) this.#fault(`was decided twice: ${this.#decided}, ${reply.identity}`)
    this.#decided ??= reply.identity
  }

  /** Whether a request had the transfer's own key, and so must be told its outcome whatever its token is worth. */
  #isOwnKey(key: string | undefined): boolean {
    return key !== undefined && key === this.key
  }

  get #original(): Token {
    return this.#tokens[0] as Token
  }

  #fresh(): Token {
    const token = this.#mint()
    this.#tokens.push(token)
    return token
  }

  #mint(): Token {
    const jwtId = `${this.name}.${this.#tokens.length}`
    return { jwtId, text: mintFor(this.#bank.issuer).transfer({ sub: this.#plan.debtor, jti: jwtId }) }
  }

  #fault(what: string): void {
    this.faults.push(`${this.name} ${what}`)
  }
}

function isDecision(reply: Reply & { kind: 'answered' }): boolean {
  return reply.status === 201 || reply.status === 422
}

/** An answer after which a client tries again. */
function isPassing({ status }: Reply & { kind: 'answered' }): boolean {
  return [409, 502, 503].includes(status)
}
