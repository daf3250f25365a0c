import { statSync } from 'node:fs'
import type { BackgroundConnection } from './connection.js'
import type { Writer } from './writer.js'

const intervalMs = 500
const defaultMaxWalBytes = 64 * 1024 * 1024

/**
 * Copies what was committed from the write-ahead log into the database file, beside the bookings and off the process's own
 * thread: SQLite's own way would do it within a commit, which then takes as long as the disk needs for a thousand pages.
 */
export class Checkpoints {
  readonly #connection: BackgroundConnection
  readonly #walPath: string
  readonly #maxWalBytes: number
  #running: Promise<void> | undefined
  #nextMs = 0
  #failing = false
  #closed = false

  /** @param maxWalBytes how long the log may grow while bookings go on */
  constructor(connection: BackgroundConnection, walPath: string, maxWalBytes = defaultMaxWalBytes) {
    this.#connection = connection
    this.#walPath = walPath
    this.#maxWalBytes = maxWalBytes
  }

  /** To be called after commits: makes a checkpoint unless there was one in the last half second. Returns at once. */
  afterCommit(writer: Writer): void {
    if (this.#closed || this.#running !== undefined || performance.now() < this.#nextMs) return
    this.#running = this.#run(writer)
  }

  /** Resolves once no checkpoint is under way. */
  async settle(): Promise<void> {
    await this.#running
  }

  /** Begins no more of them. Resolves once none is under way. */
  async close(): Promise<void> {
    this.#closed = true
    await this.settle()
  }

  /** A checkpoint that fails loses nothing, as the log has everything; the outage is told when it begins. */
  async #run(writer: Writer): Promise<void> {
    try {
      await this.#checkpoint(writer)
      this.#failing = false
    } catch (error) {
      if (!this.#failing) process.emitWarning(new Error('the ledger cannot make a checkpoint', { cause: error }))
      this.#failing = true
    }
    this.#nextMs = performance.now() + intervalMs
    this.#running = undefined
  }

  /** While bookings go on the log never begins anew by itself: when it is long, they wait for the little that is left of it. */
  async #checkpoint(writer: Writer): Promise<void> {
    await this.#connection.exec('pragma wal_checkpoint(passive)')
    if (statSync(this.#walPath).size < this.#maxWalBytes) return
    await writer.exclusively(() => this.#connection.exec('pragma wal_checkpoint(truncate)'))
  }
}
