import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Bank } from '../bank.js'
import { SqliteFiller } from '../fill.js'
import { measureThroughput } from '../load.js'
import type { GrowthOptions } from './options.js'
import { latency, type Subject } from './rounds.js'
import { audience } from './servers.js'

const accountCount = 1000
const hourMs = 3_600_000

/**
 * A ledger with so many spent tokens that none is forgotten during the run: fresh transfers, and replays of their tokens. The
 * process remembers a single token, so that it is the ledger that refuses them. Resolves to what is to be measured and to
 * a check of the books.
 */
export async function prepareSpentTokens(count: number, options: GrowthOptions) {
  const { folder, issuer, servers, seconds, transfersPerSecond } = options
  const dataFolder = join(folder, `tokens-${count}`)
  const filler = await SqliteFiller.create(dataFolder)
  const fromMs = Date.now() + hourMs
  await filler.insertTokens(issuer.url, count, { fromMs, toMs: fromMs + 24 * hourMs })
  filler.close()
  const bank = new Bank(issuer, accountCount)
  const accountsFile = join(dataFolder, 'accounts.json')
  writeFileSync(accountsFile, bank.accountsFile)
  const more = { ACCOUNTS_FILE: accountsFile, REPLAY_CACHE_SIZE: '1' }
  const server = await servers.start({ issuer, dataFolder, more })

  const transfers = (requests: Buffer[]) => ({ label: 'fresh transfers', server, requests, expected: 'HTTP/1.1 201 ' })
  const replays = (requests: Buffer[]) => ({ label: 'replays', server, requests, expected: 'HTTP/1.1 401 ' })
  const first = await bank.order(audience, 3000)
  for (const load of [transfers(first), replays(first)])
    await measureThroughput({ ...load, port: server.port, warmUp: 1 })

  const subject: Subject = {
    name: `${count.toLocaleString('en')} spent tokens`,
    measure: async () => {
      const requests = await bank.order(audience, seconds * transfersPerSecond)
      return {
        ...(await latency(transfers(requests), transfersPerSecond)),
        ...(await latency(replays(requests), transfersPerSecond)),
      }
    },
  }
  return { subject, check: () => bank.check(server.url, audience) }
}
