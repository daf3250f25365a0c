import { randomBytes } from 'node:crypto'
import { maxMinorUnits } from '#src/core/money.js'
import type { OpeningAccount } from '#src/core/opening-accounts.js'
import {
  type Account,
  type AccountEntry,
  type BookingOutcome,
  type DeclineReason,
  idempotencyRetentionMs,
  type Ledger,
  type Owner,
  type Transfer,
  type TransferDecision,
  type TransferOrder,
} from '#src/ledger/ledger.js'
import type { RemoteCalls, Transaction } from './remote-calls.js'
import type { Attempt } from './world.js'

/** What the ledger decided and will always have decided, whatever it forgets. */
export interface Decided {
  attempt: Attempt
  jwtId: string
  owner: Owner
  key: string | undefined
  requestDigest: string | undefined
  decision: TransferDecision
  nowMs: number
}

interface BookAccount extends Account {
  owner: Owner
}

interface Posting {
  iban: string
  counterpartyIban: string
  transfer: Transfer
  amountMinorUnits: bigint
}

interface IdempotencyRecord {
  requestDigest: string
  decision: TransferDecision
  rememberUntilMs: number
}

const pruneBatchSize = 500

/** The ledger in a few maps. Each order is decided at once and whole, when its step comes. */
export class ModelLedger implements Ledger {
  /** Every decision, oldest first. */
  readonly history: Decided[] = []
  readonly transfers = new Map<string, { transfer: Transfer; owner: Owner }>()
  readonly postings: Posting[] = []
  readonly accountsByIban = new Map<string, BookAccount>()
  protected readonly calls: RemoteCalls
  readonly #secret = randomBytes(32)
  readonly #spent = new Map<string, number>()
  readonly #records = new Map<string, IdempotencyRecord>()

  constructor(calls: RemoteCalls) {
    this.calls = calls
  }

  book(order: TransferOrder): Promise<BookingOutcome> {
    const name = order.idempotency === undefined ? 'booking' : `booking ${order.owner.subject} ${order.idempotency.key}`
    const transaction: Transaction<BookingOutcome> = {
      name,
      commit: (attempt) => this.decide(order, attempt as Attempt),
      isOnlyRead: (answer) => answer.kind === 'decided' && answer.repeated && answer.decision.kind === 'booked',
      evade: () =>
        order.idempotency !== undefined && this.calls.hasOther(name, transaction)
          ? { name: 'finds its key in use', answer: { kind: 'key-in-use' } }
          : undefined,
    }
    return this.calls.submit(transaction)
  }

  async prune(nowMs: number): Promise<number> {
    const tokens = [...this.#spent].filter(([, untilMs]) => untilMs <= nowMs).slice(0, pruneBatchSize)
    const records = [...this.#records].filter(([, { rememberUntilMs }]) => rememberUntilMs <= nowMs)
    const oldest = records.slice(0, pruneBatchSize)
    for (const [token] of tokens) this.#spent.delete(token)
    for (const [key] of oldest) this.#records.delete(key)
    return tokens.length + oldest.length
  }

  async openAccounts(issuer: string, accounts: readonly OpeningAccount[]): Promise<number> {
    if (accounts.some(({ balanceMinorUnits }) => balanceMinorUnits > maxMinorUnits)) throw new Error('too much')
    const fresh = accounts.filter(({ iban }) => !this.accountsByIban.has(iban))
    for (const { subject, ...account } of fresh) {
      this.accountsByIban.set(account.iban, { id: account.iban, owner: { issuer, subject }, ...account })
    }
    return fresh.length
  }

  async transfer(owner: Owner, transferId: string): Promise<Transfer | undefined> {
    const known = this.transfers.get(transferId)
    return known !== undefined && isSame(known.owner, owner) ? known.transfer : undefined
  }

  async accountsOf(owner: Owner): Promise<Account[]> {
    const own = [...this.accountsByIban.values()].filter((account) => isSame(account.owner, owner))
    return own.sort((one, other) => (one.iban < other.iban ? -1 : 1))
  }

  async account(owner: Owner, accountId: string): Promise<Account | undefined> {
    return (await this.accountsOf(owner)).find(({ id }) => id === accountId)
  }

  async entriesOf(
    owner: Owner,
    accountId: string,
    { limit, before = Number.POSITIVE_INFINITY }: { limit: number; before: number | undefined },
  ): Promise<AccountEntry[] | undefined> {
    const account = await this.account(owner, accountId)
    if (account === undefined) return undefined
    const entries = this.postings
      .filter(({ iban }) => iban === account.iban)
      .map(({ transfer, counterpartyIban, amountMinorUnits }, index) => {
        const { id: transferId, bookedAtMs, currency, remittanceInformation } = transfer
        const number = index + 1
        return { number, transferId, bookedAtMs, counterpartyIban, currency, amountMinorUnits, remittanceInformation }
      })
    const older = entries.filter(({ number }) => number < before)
    return older.reverse().slice(0, limit)
  }

  async sharedSecret(): Promise<Uint8Array> {
    return this.#secret
  }

  async isReachable(): Promise<boolean> {
    return true
  }

  async close(): Promise<void> {}

  /** Decides an order; `withRecord` false leaves out what repeats are answered with. */
  protected decide(order: TransferOrder, attempt: Attempt, withRecord = true): BookingOutcome {
    const { owner, token, idempotency, nowMs } = order
    const tokenKey = JSON.stringify([token.issuer, token.jwtId])
    const requestDigest = idempotency?.requestDigest.toString('base64')
    const record = idempotency && this.#records.get(recordKey(order))
    if (record !== undefined && record.rememberUntilMs > nowMs) {
      const tokenSpent = this.#spent.has(tokenKey)
      if (record.requestDigest !== requestDigest) return { kind: 'key-reused', tokenSpent }
      return { kind: 'decided', decision: record.decision, repeated: true, tokenSpent }
    }
    if (this.#spent.has(tokenKey)) return { kind: 'token-spent' }
    this.#spent.set(tokenKey, token.rememberUntilMs)
    const decision = this.#move(order)
    this.history.push({ attempt, jwtId: token.jwtId, owner, key: idempotency?.key, requestDigest, decision, nowMs })
    if (withRecord) this.remember(order, decision)
    return { kind: 'decided', decision, repeated: false, tokenSpent: true }
  }

  protected remember(order: TransferOrder, decision: TransferDecision): void {
    if (order.idempotency === undefined) return
    this.#records.set(recordKey(order), {
      requestDigest: order.idempotency.requestDigest.toString('base64'),
      decision,
      rememberUntilMs: order.nowMs + idempotencyRetentionMs,
    })
  }

  #move({ owner, instruction, nowMs, requestId }: TransferOrder): TransferDecision {
    const debtor = this.accountsByIban.get(instruction.debtorIban)
    const creditor = this.accountsByIban.get(instruction.creditorIban)
    const declined = (reason: DeclineReason): TransferDecision => ({ kind: 'declined', reason, requestId })
    if (debtor === undefined || creditor === undefined || !isSame(debtor.owner, owner)) return declined('not-found')
    const { amountMinorUnits, ...asInstructed } = instruction
    if (debtor === creditor) return declined('same-account')
    if (debtor.currency !== asInstructed.currency || creditor.currency !== asInstructed.currency)
      return declined('currency-mismatch')
    if (debtor.balanceMinorUnits < amountMinorUnits) return declined('insufficient-funds')
    if (creditor.balanceMinorUnits + amountMinorUnits > maxMinorUnits) return declined('balance-limit')
    const id = `00000000-0000-4000-8000-${String(this.transfers.size).padStart(12, '0')}`
    const transfer: Transfer = { id, bookedAtMs: nowMs, ...asInstructed }
    this.transfers.set(id, { transfer, owner })
    this.#post(transfer, debtor, -amountMinorUnits)
    this.#post(transfer, creditor, amountMinorUnits)
    return { kind: 'booked', transfer }
  }

  #post(transfer: Transfer, account: BookAccount, amountMinorUnits: bigint): void {
    account.balanceMinorUnits += amountMinorUnits
    const { debtorIban, creditorIban } = transfer
    const { iban } = account
    const counterpartyIban = iban === debtorIban ? creditorIban : debtorIban
    this.postings.push({ iban, counterpartyIban, transfer, amountMinorUnits })
  }
}

/** What an idempotency record stands under. */
function recordKey({ owner, idempotency }: TransferOrder): string {
  return JSON.stringify([owner.issuer, owner.subject, idempotency?.key])
}

function isSame(one: Owner, other: Owner): boolean {
  return one.issuer === other.issuer && one.subject === other.subject
}
