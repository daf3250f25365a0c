import { execFile } from 'node:child_process'
import { chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import type { Test } from 'tap'
import { ExternalServer, findLastingPort, type Identity } from './external-server.js'
import { postgresProgram } from './services.js'

const superuser = 'postgres'
const run = promisify(execFile)

// Whoever runs the tests may have a database of their own in mind, which neither PostgreSQL's programs nor pg may be told of.
for (const name of Object.keys(process.env)) {
  if (name.startsWith('PG')) delete process.env[name]
}

export interface PostgresOptions {
  /** Settings by name, as in `postgresql.conf`. All others have PostgreSQL's own defaults, `fsync` among them. */
  settings?: Record<string, string>
}

/** A PostgreSQL with a folder and a port of its own, that trusts whoever connects. */
export class PostgresServer extends ExternalServer {
  /** Everything the server writes is in here. */
  readonly folder: string
  readonly #identity: Identity | undefined
  #databases = 0

  /** Starts nothing yet. Makes an empty folder, and passes on what the server needs. */
  constructor(port: number, { settings = {} }: PostgresOptions) {
    const identity = findIdentity()
    const folder = mkdtempSync(join(tmpdir(), 'stepgate-postgres-'))
    if (identity !== undefined) chownSync(folder, identity.uid, identity.gid)
    const all = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      // In the folder, so that nothing is left of a server that was killed.
      dynamic_shared_memory_type: 'mmap',
      ...settings,
    }
    super({
      port,
      command: [
        ...[postgresProgram('postgres'), '-D', join(folder, 'data'), '-p', String(port)],
        ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      stopSignal: 'SIGINT',
      identity,
    })
    this.folder = folder
    this.#identity = identity
  }

  /** The URL of a database as its superuser. It need not exist. */
  url(database = 'postgres'): string {
    return `postgres://${superuser}@${this.host}:${this.port}/${database}`
  }

  /** Makes an empty database, so that tests which share a server share nothing else. Resolves to its URL. */
  async createDatabase(): Promise<string> {
    this.#databases += 1
    const name = `test_${this.#databases}`
    await this.query(this.url(), `CREATE DATABASE ${name}`)
    return this.url(name)
  }

  /** Runs SQL over a connection of its own and resolves to the rows of the statement, which must be the only one to have rows. */
  async query<Row extends object>(url: string, sql: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client({ connectionString: url })
    // The query rejects when the connection breaks; without a listener the process would end as well.
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query<Row>(sql, values)).rows
    } finally {
      await client.end()
    }
  }

  /** Makes the data folder. To be called once, before the first start. */
  async initialise(): Promise<void> {
    const parameters = ['--no-sync', '--auth=trust', '--no-locale', '--encoding=UTF8', `--username=${superuser}`]
    await run(postgresProgram('initdb'), [...parameters, '-D', join(this.folder, 'data')], {
      cwd: '/',
      ...this.#identity,
    })
  }

  /** Kills the server and leaves nothing of it. */
  async remove(): Promise<void> {
    await this.kill()
    await removeSharedMemory(join(this.folder, 'data', 'postmaster.pid'))
    rmSync(this.folder, { recursive: true, force: true })
  }

  protected async serves(): Promise<boolean> {
    return this.query(this.url(), 'SELECT').then(
      () => true,
      () => false,
    )
  }
}

/** Starts a PostgreSQL with empty data. At the end of the test it is killed and removed. */
export async function startPostgres(t: Test, options: PostgresOptions = {}): Promise<PostgresServer> {
  const server = new PostgresServer(await findLastingPort(), options)
  t.teardown(() => server.remove())
  await server.initialise()
  await server.start()
  return server
}

/** Whom the server must run as: it refuses to be root, so root runs it as the user that Debian made for it. */
function findIdentity(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const entry = /^postgres:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'))
  if (entry === null) throw new Error('PostgreSQL does not run as root, and there is no user named postgres')
  return { uid: Number(entry[1]), gid: Number(entry[2]) }
}

/** Removes the few bytes that a killed server keeps in the kernel as a lock. The seventh line of its file names them. */
async function removeSharedMemory(lockFile: string): Promise<void> {
  let lines: string[]
  try {
    lines = readFileSync(lockFile, 'utf8').split('\n')
  } catch {
    // A server that was stopped in order, or never started, has no such file and nothing left.
    return
  }
  const id = lines[6]?.trim().split(/\s+/)[1]
  if (id !== undefined) await run('ipcrm', ['--shmem-id', id])
}
