import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Bank } from '../bank.js'
import { measureThroughput } from '../load.js'
import type { GrowthOptions } from './options.js'
import { type Subject, throughput } from './rounds.js'
import { audience, readAccounts } from './servers.js'

const accountCount = 1000
/** So few that every worker soon knows each. */
const hotTokenCount = 200

/** So many processes behind one port, on whichever cores: reads with tokens that are new to them, and with known ones. */
export async function prepareProcesses(count: number, { folder, issuer, servers, seconds }: GrowthOptions) {
  const dataFolder = join(folder, `processes-${count}`)
  mkdirSync(dataFolder)
  const accountsFile = join(dataFolder, 'accounts.json')
  writeFileSync(accountsFile, new Bank(issuer, accountCount).accountsFile)
  const more = { ACCOUNTS_FILE: accountsFile, WORKERS: String(count) }
  const server = await servers.start({ issuer, dataFolder, unpinned: true, more })

  async function mint(tokenCount: number): Promise<Buffer[]> {
    const owners = Array.from({ length: tokenCount }, (_, index) => `owner-${index % accountCount}`)
    return readAccounts(await issuer.mint(audience, owners, 'read:accounts'))
  }

  const pool = await mint(hotTokenCount)
  const hotReads = (requestCount: number) => {
    const requests = Array.from({ length: requestCount }, (_, index) => pool[index % pool.length] as Buffer)
    return { label: 'reads, tokens known', server, requests, expected: 'HTTP/1.1 200 ' }
  }
  const coldReads = async (requestCount: number) => ({
    label: 'reads, every token new',
    server,
    requests: await mint(requestCount),
    expected: 'HTTP/1.1 200 ',
  })
  for (const load of [await coldReads(count * 8000), hotReads(count * 12_000)])
    await measureThroughput({ ...load, port: server.port, warmUp: 1 })

  const subject: Subject = {
    name: `${count} ${count === 1 ? 'process' : 'processes'}`,
    measure: async () => {
      const cold = await throughput(await coldReads(seconds * 6000))
      const hot = await throughput(hotReads(seconds * 12_000))
      return { ...cold, ...hot }
    },
  }
  return { subject, check: async () => {} }
}
