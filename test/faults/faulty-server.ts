import { readConfig } from '#src/config.js'
import { serve } from '#src/serve.js'
import { type BrokenLedgerName, brokenLedgers } from './kill-broken-ledgers.js'
import { openKillableLedger, openKillableRings, watchRequests } from './kill-parts.js'
import { type Arming, arm } from './kill-points.js'

/**
 * The server, with the environment of the server, that kills itself where its parent says. `BROKEN_LEDGER` breaks its ledger
 * on purpose. Tells its parent once it listens, and once it is armed, and ends with it.
 */
const read = readConfig(process.env)
if ('faults' in read) throw new Error(read.faults.join('; '))
const broken = process.env['BROKEN_LEDGER'] as BrokenLedgerName | undefined

process.on('disconnect', () => process.exit())
process.on('message', (message) => {
  arm(message as Arming)
  process.send?.('armed')
})
watchRequests()
await serve({
  config: read.config,
  warnings: [],
  adminListener: false,
  open: {
    rings: openKillableRings,
    ledger: async (config, report) => {
      const ledger = await openKillableLedger(config, report)
      if (broken !== undefined) brokenLedgers[broken](ledger)
      return ledger
    },
  },
})
process.send?.('serving')
