import type { Test } from 'tap'
import { findLastingPort } from '../helpers/external-server.js'
import { type RoundRobinProxy, startRoundRobinProxy } from '../helpers/round-robin-proxy.js'
import { type ServerProcess, startServer, until } from '../helpers/server-process.js'
import { auditBooks, auditTransfers } from './kill-audit.js'
import type { Bank } from './kill-bank.js'
import { describeReply, TransferClient } from './kill-client.js'
import type { TransferPlan } from './kill-plan.js'
import { IntendedTransfer } from './kill-transfer.js'

export interface RaceReport {
  booked: number[]
  /** Status and problem of every answer but 201, once each. */
  others: string[]
}

const clients = 4

/** Replicas of the server as it is shipped, behind a proxy, and clients that use nothing but the proxy. */
export class Replicas {
  readonly bank: Bank
  readonly proxy: RoundRobinProxy
  readonly #t: Test
  readonly #servers = new Map<number, ServerProcess>()
  readonly #client = new TransferClient()
  readonly #transfers: IntendedTransfer[] = []
  #stopping = false
  #load: Promise<unknown> = Promise.resolve()

  private constructor(t: Test, bank: Bank, proxy: RoundRobinProxy) {
    this.#t = t
    this.bank = bank
    this.proxy = proxy
  }

  /** Starts so many replicas at once. At the end of the test they are killed. */
  static async start(t: Test, bank: Bank, count: number): Promise<Replicas> {
    const replicas = new Replicas(t, bank, await startRoundRobinProxy(t, []))
    t.teardown(() => replicas.#stop())
    await Promise.all(Array.from({ length: count }, () => replicas.add()))
    return replicas
  }

  get ports(): number[] {
    return [...this.#servers.keys()]
  }

  /** Starts one more replica and lets the proxy know once it is ready. Resolves to its port. */
  async add(): Promise<number> {
    const port = await findLastingPort()
    await this.startAgain(port)
    this.proxy.replicas = this.ports
    return port
  }

  /** Starts the replica of a port, and waits until it is ready. */
  async startAgain(port: number): Promise<void> {
    const server = await startServer(this.#t, { ...this.bank.environment, PORT: String(port) }, { form: 'bundled' })
    this.#servers.set(port, server)
    await until(`${server.url} is ready`, async () => (await fetch(`${server.url}/readyz`)).ok)
  }

  /** Ends the replica of a port. The proxy goes on asking it. Resolves to its exit code. */
  async stop(port: number, signal: NodeJS.Signals): Promise<number | null> {
    return (this.#servers.get(port) as ServerProcess).stop(signal)
  }

  /** A transfer that is audited in the end. */
  intend(changes: Partial<TransferPlan> = {}): IntendedTransfer {
    const plan: TransferPlan = {
      ...{ keyed: true, declined: false, raced: false, repeated: false },
      ...{ debtor: this.#transfers.length % 2 === 0 ? 'alice' : 'bob', cents: 1, recovery: 'same-token' },
      ...changes,
    }
    const transfer = new IntendedTransfer(this.bank, `${this.bank.name}.${this.#transfers.length}`, plan)
    this.#transfers.push(transfer)
    return transfer
  }

  /** Makes a transfer by way of the proxy. */
  async make(transfer: IntendedTransfer): Promise<void> {
    await transfer.insist(this.#client, this.proxy.url)
  }

  /** Sends a transfer once more, to the replica of a port. Resolves to the status, 0 when there is no answer. */
  async repeatAt(port: number, transfer: IntendedTransfer): Promise<number> {
    const [reply] = await transfer.race(this.#client, `http://127.0.0.1:${port}`, 1)
    return reply?.kind === 'answered' ? reply.status : 0
  }

  /**
   * Sends each of so many transfers several times at once, and then has each of them decided. Resolves to how often each was
   * booked in the race, and to all other answers.
   */
  async race(transfers: number, times: number, changes: Partial<TransferPlan>): Promise<RaceReport> {
    const raced = Array.from({ length: transfers }, () => this.intend(changes))
    const replies = await Promise.all(raced.map((transfer) => transfer.race(this.#client, this.proxy.url, times)))
    await Promise.all(raced.map((transfer) => transfer.recover(this.#client, this.proxy.url)))
    return {
      booked: replies.map((all) => all.filter((reply) => reply.kind === 'answered' && reply.status === 201).length),
      others: [...new Set(replies.flat().map(describeReply))].filter((one) => one !== '201 '),
    }
  }

  /** Clients begin to make one transfer after the other, with a key, and insist on each with the same token and key. */
  startLoad(): void {
    this.#stopping = false
    const client = async () => {
      while (!this.#stopping) await this.intend().insist(this.#client, this.proxy.url)
    }
    this.#load = Promise.all(Array.from({ length: clients }, client))
    this.#load.catch(() => undefined)
  }

  /** Ends the clients even when the test has failed amid their load. */
  #stop(): void {
    this.#stopping = true
    this.#client.close()
  }

  /** Resolves once so many more transfers were acknowledged. */
  async more(count: number): Promise<void> {
    const acknowledged = () => this.#transfers.filter((transfer) => transfer.isAcknowledged).length
    const enough = acknowledged() + count
    await until(`${count} more transfers are acknowledged`, () => acknowledged() >= enough)
  }

  /** Ends the load once every transfer is decided, and compares all that was ever answered with the books. */
  async settle(t: Test): Promise<void> {
    this.#stopping = true
    await this.#load
    t.strictSame(
      this.#transfers.filter((transfer) => !transfer.isAcknowledged).map(({ name }) => name),
      [],
      `each of ${this.#transfers.length} transfers has its answer`,
    )
    t.strictSame(
      this.#transfers.flatMap(({ faults }) => faults),
      [],
      'no answer contradicts another',
    )
    const expectations = this.#transfers.map(({ expectation }) => expectation)
    t.strictSame(await auditTransfers(this.bank, `${this.bank.name}.`, expectations), [], 'each is booked exactly once')
    t.strictSame(await auditBooks(this.bank), [], 'the books add up')
  }
}
