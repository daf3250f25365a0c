import { setTimeout as delay } from 'node:timers/promises'
import { findLastingPort } from '../helpers/external-server.js'
import { until } from '../helpers/server-process.js'
import { auditBooks, auditTransfers } from './kill-audit.js'
import type { Bank } from './kill-bank.js'
import type { BrokenLedgerName } from './kill-broken-ledgers.js'
import { TransferClient } from './kill-client.js'
import type { RoundPlan } from './kill-plan.js'
import { IntendedTransfer } from './kill-transfer.js'
import { Victim } from './kill-victim.js'

/** What happened in a round. */
export interface RoundReport {
  /** What no promise allows, in sentences; empty when all is well. */
  violations: string[]
  /** Whether the process died where it was to die. It is killed anyway when nothing has passed the point often enough. */
  reached: boolean
  transfers: number
  acknowledgedBefore: number
  /** Requests whose answer the kill has taken. */
  broken: number
}

export interface KillOptions {
  /** Breaks the ledger on purpose. */
  broken?: BrokenLedgerName
  /** After how long without an answer a request has hung. */
  deadlineMs?: number
}

/** A bank whose server is killed once a round. What is started after a kill serves until the next. */
export class KillRounds {
  readonly #bank: Bank
  readonly #serverPath: string
  readonly #environment: Record<string, string>
  readonly #deadlineMs: number | undefined
  #victim: Victim

  private constructor(bank: Bank, serverPath: string, port: number, { broken, deadlineMs }: KillOptions) {
    this.#bank = bank
    this.#serverPath = serverPath
    this.#deadlineMs = deadlineMs
    this.#environment = {
      ...bank.environment,
      PORT: String(port),
      ...(broken === undefined ? {} : { BROKEN_LEDGER: broken }),
    }
    this.#victim = this.#start()
  }

  /** Starts the first server, of the bundle that `bundleFaultyServer` has made. */
  static async open(bank: Bank, serverPath: string, options: KillOptions = {}): Promise<KillRounds> {
    return new KillRounds(bank, serverPath, await findLastingPort(), options)
  }

  /** Makes transfers, kills the server amid them, starts it again, has the client find out what happened, and audits. */
  async run(plan: RoundPlan): Promise<RoundReport> {
    const prefix = `${this.#bank.name}.${plan.index}.`
    const transfers = plan.transfers.map((transfer, n) => new IntendedTransfer(this.#bank, `${prefix}${n}`, transfer))
    await this.#victim.ready()
    const reached = await this.#loadUntilKilled(plan, transfers)
    const begun = transfers.filter((transfer) => transfer.begun)
    const acknowledgedBefore = begun.filter((transfer) => transfer.isAcknowledged).length
    const broken = begun.reduce((sum, transfer) => sum + transfer.broken, 0)

    this.#victim = this.#start()
    if (plan.point === 'while-starting') {
      await delay(plan.startDelayMs)
      await this.#victim.kill()
      this.#victim = this.#start()
    }
    await this.#victim.ready()
    const spares = await this.#recover(plan, begun)
    const all = [...begun, ...spares]
    const expectations = all.map(({ expectation }) => expectation)
    const violations = [
      ...all.flatMap(({ faults }) => faults),
      ...(await auditTransfers(this.#bank, prefix, expectations)),
      ...(await auditBooks(this.#bank)),
    ]
    return { violations, reached, transfers: all.length, acknowledgedBefore, broken }
  }

  /** Ends the server. */
  async close(): Promise<void> {
    await this.#victim.kill()
  }

  #start(): Victim {
    return new Victim(this.#serverPath, this.#environment)
  }

  /** Resolves to whether the server died where it was to die, once it is dead and every request has an answer or has none. */
  async #loadUntilKilled(plan: RoundPlan, transfers: readonly IntendedTransfer[]): Promise<boolean> {
    const { point, passing, delayMs, connections } = plan
    const victim = this.#victim
    const client = new TransferClient(this.#deadlineMs)
    const queue = [...transfers]
    const isFromOutside = point === 'random-moment' || point === 'while-starting'
    await victim.arm({ point, passing })
    const load = Promise.all(
      Array.from({ length: connections }, async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          if (!(await next.begin(client, victim.url))) return
        }
      }),
    )
    if (isFromOutside) {
      await delay(delayMs)
      await victim.kill()
      await load
    } else {
      await load
      // A process that killed itself breaks connections a moment before its parent hears of it.
      if (transfers.some(({ broken }) => broken > 0)) await until('the server is gone', () => !victim.running)
    }
    client.close()
    const reached = isFromOutside || !victim.running
    await victim.kill()
    return reached
  }

  /** Resolves to transfers that were made with tokens left over from others. */
  async #recover({ connections }: RoundPlan, begun: readonly IntendedTransfer[]): Promise<IntendedTransfer[]> {
    const { url } = this.#victim
    const client = new TransferClient(this.#deadlineMs)
    const spares: IntendedTransfer[] = []
    const queue = [...begun]
    await Promise.all(
      Array.from({ length: connections }, async () => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
          await next.recover(client, url)
          const spare = next.takeSpare()
          if (spare === undefined) continue
          spares.push(spare)
          await spare.recover(client, url)
        }
      }),
    )
    client.close()
    return spares
  }
}
