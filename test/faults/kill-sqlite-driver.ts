import { createRequire } from 'node:module'
import type { BackgroundConnection } from '#src/ledger/sqlite/connection.js'

/** What every SQLite connection that books is made of: to be changed where the driver itself is to be watched or broken. */
export const { prototype: sqliteConnection } = createRequire(import.meta.url)('libsql/promise') as {
  prototype: BackgroundConnection
}
