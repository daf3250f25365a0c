import t, { type Test } from 'tap'
import { PostgresLedger } from '#src/ledger/postgres/postgres-ledger.js'
import { startPostgres } from '../helpers/postgres-server.js'
import { missingService } from '../helpers/services.js'
import { testLedgerContract } from './ledger-contract.js'

t.test('PostgreSQL', { skip: missingService('postgresql') }, async (t) => {
  const postgres = await startPostgres(t)

  async function openLedger(t: Test, url?: string): Promise<PostgresLedger> {
    const ledger = await PostgresLedger.open({ url: url ?? (await postgres.createDatabase()) })
    t.teardown(() => ledger.close())
    return ledger
  }

  t.test('the ledger contract', async (t) => testLedgerContract(t, openLedger))
})
