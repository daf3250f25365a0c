import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { until } from './server-process.js'

export { findLastingPort } from './ports.js'

/** The numbers of a user and its group. */
export interface Identity {
  uid: number
  gid: number
}

/** A server of another project that a test may kill, freeze and start again. */
export abstract class ExternalServer {
  readonly host = '127.0.0.1'
  readonly port: number
  /** What the server wrote to both its outputs, over all its starts. */
  output = ''
  readonly #command: readonly string[]
  readonly #stopSignal: NodeJS.Signals
  readonly #identity: Partial<Identity>
  #child: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()

  /** Starts nothing yet. The command runs in the foreground, and as its identity when one is given. */
  protected constructor(options: {
    port: number
    command: readonly string[]
    stopSignal: NodeJS.Signals
    identity?: Identity | undefined
  }) {
    this.port = options.port
    this.#command = options.command
    this.#stopSignal = options.stopSignal
    this.#identity = options.identity ?? {}
  }

  /** Whether the server serves a client. Neither rejects nor hangs while it starts. */
  protected abstract serves(): Promise<boolean>

  /** The main process. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the server was never started')
    return this.#child.pid
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Starts the server, also again after `kill` or `stop`: on the same folder and port. Resolves once it serves a client. */
  async start(): Promise<void> {
    if (this.running) throw new Error('the server runs already')
    // The kernel kills the server when this process dies, even where no teardown could run.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...this.#command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
      ...this.#identity,
    })
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
      })
    }
    this.#child = child
    this.#exited = once(child, 'close')
    await until(`${this.#command[0]} serves`, async () => {
      if (!this.running) throw new Error(`the server ended: ${this.output}`)
      return this.serves()
    })
  }

  /** Stops the server in order, and waits for its end. Waits in vain while the server is frozen. */
  async stop(): Promise<void> {
    process.kill(this.pid, this.#stopSignal)
    await this.#exited
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Ends every process of the server at one moment, as a crash does, and waits until all are gone. Nothing when it is down. */
  async kill(): Promise<void> {
    if (!this.running) return
    // None may outlive the other: a main process cleans up after a child, and a child notices the end of the main process.
    const pids = await this.#freeze()
    for (const pid of pids) signalProcess(pid, 'SIGKILL')
    await this.#exited
    await until('every process is gone', () => pids.every((pid) => 'ZX'.includes(readStatus(pid).state)))
  }

  /** Stops every process of the server where it stands, with connections open. Resolves when none runs any more. */
  async freeze(): Promise<void> {
    await this.#freeze()
  }

  /** Lets a frozen server go on. */
  thaw(): void {
    for (const pid of listTree(this.pid)) signalProcess(pid, 'SIGCONT')
  }

  async #freeze(): Promise<number[]> {
    let pids: number[] = []
    // A process that is about to fork still does so, hence the list is made anew until all in it stand still.
    await until('every process is frozen', () => {
      pids = listTree(this.pid)
      const moving = pids.filter((pid) => !'TZX'.includes(readStatus(pid).state))
      for (const pid of moving) signalProcess(pid, 'SIGSTOP')
      return moving.length === 0
    })
    return pids
  }
}

interface ProcessStatus {
  parent: number
  /** One letter: T is stopped by a signal, Z a zombie, X gone. */
  state: string
}

function readStatus(pid: number): ProcessStatus {
  try {
    // The second field is the program's name in brackets, which may itself hold brackets and blanks.
    const [state = '', parent] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return { state: 'X', parent: 0 }
  }
}

/** A process and all that descend from it. PostgreSQL gives each of its own a session, so that no process group has them all. */
function listTree(root: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const parents = pids.map((name) => ({ pid: Number(name), parent: readStatus(Number(name)).parent }))
  const tree = [root]
  // The list grows while it is walked, so that children of children follow.
  for (const member of tree) tree.push(...parents.filter(({ parent }) => parent === member).map(({ pid }) => pid))
  return tree
}

/** Sends a signal, unless the process has just gone. */
function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
