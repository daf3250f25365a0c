import type { Client, ClientConfig, Pool } from 'pg'

/** Together these keep the promise that a transfer is answered within two seconds, whatever PostgreSQL does. */
const acquireTimeoutMs = 500
const lockTimeoutMs = 1000
const statementTimeoutMs = 1300
/** For a migration, which may have much to do. */
const leisureConnectTimeoutMs = 3000
const leisureTimeoutMs = 600_000
/** After the server's own timeout, so that only a server that is frozen or cut off is given up without an answer. */
const answerTimeoutMs = 1500
const poolSize = 10
const int8 = 20

function baseConfig(url: string): ClientConfig {
  return { connectionString: url, application_name: 'stepgate', keepAlive: true }
}

/**
 * The connections that serve requests. Each process has up to ten; whoever finds none within half a second is told so.
 * Integers of 64 bits come back as bigint, in this pool only. pg is loaded on demand, as SQLite ledgers do without it.
 */
export async function openPool(url: string): Promise<Pool> {
  const { default: pg } = await import('pg')
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
  await client.connect()
  return client
}
