import { execFileSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openConnections } from '#src/ledger/sqlite/connection.js'
import { bankEnvironment, ServerProcess } from '../helpers/server-process.js'

t.test('a signal while the server starts ends it with 0, and nothing is left behind', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const environment = await bankEnvironment(t, 'http://127.0.0.1:9')
    // A pipe as the accounts file tells when the server reads it, and a lock keeps it from going on.
    const pipe = join(environment.DATA_DIR, '..', 'accounts.pipe')
    execFileSync('mkfifo', [pipe])
    const { writer, reader } = openConnections(environment.DATA_DIR)
    writer.exec('begin immediate')
    const server = new ServerProcess({ ...environment, ACCOUNTS_FILE: pipe }, {})
    const accounts = await open(pipe, 'w')
    const stopped = server.stop(signal)
    await accounts.writeFile(
      '[{"owner":"alice","iban":"DE89370400440532013000","name":"a","currency":"EUR","balance":"1"}]',
    )
    await accounts.close()
    t.equal(await stopped, 0, signal)
    t.equal(server.stderr, '')
    writer.exec('rollback')
    t.strictSame(reader.prepare('select count(*) as accounts from accounts').raw().get(), [0n])
    writer.close()
    reader.close()
  }
})
