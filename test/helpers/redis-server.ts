import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { makeCertificate } from './certificate.js'
import { ExternalServer, findLastingPort } from './external-server.js'

export interface RedisOptions {
  /** Arguments for redis-server. They win over ours, which are an AOF that has what was answered, no snapshots, and no eviction. */
  arguments?: string[]
  /** Listen for TLS only, with a certificate of its own. */
  tls?: boolean
}

/** A Redis with a folder and a port of its own, without a password. */
export class RedisServer extends ExternalServer {
  readonly url: string
  /** The file with the certificate to trust, such as for `NODE_EXTRA_CA_CERTS`; undefined without TLS. */
  readonly caPath: string | undefined
  readonly #folder: string

  /** Starts nothing yet. Makes a folder, and a certificate when there is to be TLS. */
  constructor(port: number, { arguments: more = [], tls = false }: RedisOptions) {
    const folder = mkdtempSync(join(tmpdir(), 'stepgate-redis-'))
    const certificate = tls ? makeCertificate(folder) : undefined
    const listen =
      certificate === undefined
        ? ['--port', String(port)]
        : [
            ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
            ...['--tls-cert-file', certificate.path, '--tls-key-file', certificate.keyPath],
            ...['--tls-ca-cert-file', certificate.path],
          ]
    const keep = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--maxmemory-policy', 'noeviction']
    super({
      port,
      command: ['redis-server', ...listen, '--bind', '127.0.0.1', '--dir', folder, ...keep, ...more],
      stopSignal: 'SIGTERM',
    })
    this.#folder = folder
    this.caPath = certificate?.path
    this.url = `${tls ? 'rediss' : 'redis'}://${this.host}:${port}`
  }

  /** A client that neither connects again nor keeps a command back, so that each fault is seen. The caller disconnects it. */
  createClient(): Redis {
    const tls = this.caPath === undefined ? {} : { tls: { ca: readFileSync(this.caPath) } }
    const client = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null, ...tls })
    // A command rejects when the connection breaks; without a listener ioredis writes to the console as well.
    client.on('error', () => undefined)
    return client
  }

  /** Kills the server and leaves nothing of it. */
  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  protected async serves(): Promise<boolean> {
    const client = this.createClient()
    try {
      return (await client.ping()) === 'PONG'
    } catch {
      return false
    } finally {
      client.disconnect()
    }
  }
}

/** Starts an empty Redis. At the end of the test it is killed and removed. */
export async function startRedis(t: Test, options: RedisOptions = {}): Promise<RedisServer> {
  const server = new RedisServer(await findLastingPort(), options)
  t.teardown(() => server.remove())
  await server.start()
  return server
}
