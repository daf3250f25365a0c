import type { Client, ClientConfig, Pool } from 'pg'
import { UnusableDatabase } from './faults.js'

const acquireTimeoutMs = 500
const lockTimeoutMs = 1000
const statementTimeoutMs = 1300
/** For opening accounts and migrations: one that needs longer is better written in steps. */
const leisureConnectTimeoutMs = 3000
const leisureTimeoutMs = 60_000
/** After the server's own timeout, so that only a server that is frozen or cut off is given up without an answer. */
const answerTimeoutMs = 1500
const poolSize = 10
const int8 = 20

function baseConfig(url: string): ClientConfig {
  return { connectionString: url, application_name: 'stepgate', keepAlive: true }
}

/**
 * The connections that serve requests. Each process has up to ten; whoever finds none within half a second is told so.
 * Integers of 64 bits come back as bigint, in this pool only. pg is loaded on demand, as SQLite ledgers do without it. Throws
 * `UnusableDatabase` when the URL, or a file that it names, cannot be read.
 */
export async function openPool(url: string): Promise<Pool> {
  const { default: pg } = await import('pg')
  try {
    new pg.Client(baseConfig(url))
  } catch (error) {
    throw new UnusableDatabase(`the URL cannot be used: ${(error as Error).message}`, { cause: error })
  }
  const pool = new pg.Pool({
    ...baseConfig(url),
    max: poolSize,
    connectionTimeoutMillis: acquireTimeoutMs,
    lock_timeout: lockTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: answerTimeoutMs,
    types: {
      getTypeParser: (type, format) => (type === int8 ? BigInt : pg.types.getTypeParser(type, format)),
    },
  } as ClientConfig)
  // A connection that breaks while it is in use says so as an event as well, which would end the process; its query reports it.
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

/** A connection for work that may take its time, such as migrations; the caller ends it. */
export async function connectClient(url: string): Promise<Client> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    ...baseConfig(url),
    connectionTimeoutMillis: leisureConnectTimeoutMs,
    query_timeout: leisureTimeoutMs,
  })
  // Without a listener a connection that breaks between two queries would end the process; the next query reports it.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch (error) {
    // Where the client gave up, the server may still be waiting for it.
    closeSoon(client)
    throw error
  }
}

/** Says goodbye without waiting for the answer, which a frozen server would owe for ever. */
export function closeSoon(client: Client): void {
  client.end().catch(() => undefined)
}
