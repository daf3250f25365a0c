import type { ClientBase } from 'pg'
import { UnusableDatabase } from './faults.js'
import { migrations } from './migrations.js'

/** Any number will do that no other program takes on this database. */
const migrationLock = 0x73746570
const leastVersion = 150_000

/**
 * Brings the schema `stepgate` up to date, in one transaction under an advisory lock, so that any number of replicas can start
 * at once. A schema that is newer than this program is left alone: migrations only add, so older replicas go on. After an
 * error the caller closes the connection, which undoes everything.
 */
export async function migrate(client: ClientBase, steps: readonly string[] = migrations): Promise<void> {
  await expectSuitable(client)
  if ((await countApplied(client)) >= steps.length) return
  await client.query('begin')
  await client.query('select pg_advisory_xact_lock($1)', [migrationLock])
  await client.query('create schema if not exists stepgate')
  await client.query(
    'create table if not exists stepgate.migrations (number integer primary key, applied_at timestamptz not null)',
  )
  // Counted again, since another replica may have been faster.
  for (let applied = await countApplied(client); applied < steps.length; applied += 1) {
    await client.query(steps[applied] as string)
    await client.query('insert into stepgate.migrations values ($1, now())', [applied + 1])
  }
  await client.query('commit')
}

/** Throws unless the server is new enough and a transfer that it acknowledges survives a crash. */
async function expectSuitable(client: ClientBase): Promise<void> {
  const setting = (name: string) => `current_setting('${name}') as ${name}`
  const { rows } = await client.query(
    `select ${setting('server_version_num')}, ${setting('fsync')}, ${setting('synchronous_commit')}`,
  )
  const { server_version_num: version, ...durability } = rows[0] as Record<string, string>
  if (Number(version) < leastVersion) throw new UnusableDatabase('PostgreSQL 15 or newer is needed')
  const off = Object.keys(durability).find((name) => durability[name] === 'off')
  if (off !== undefined) throw new UnusableDatabase(`${off} is off: a transfer that was acknowledged could be lost`)
}

async function countApplied(client: ClientBase): Promise<number> {
  const exists = await client.query("select to_regclass('stepgate.migrations') is not null as exists")
  if (!exists.rows[0].exists) return 0
  const { rows } = await client.query('select coalesce(max(number), 0) as applied from stepgate.migrations')
  return rows[0].applied
}
