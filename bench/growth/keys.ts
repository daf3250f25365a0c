import { join } from 'node:path'
import { measureThroughput } from '../load.js'
import { startIssuer } from '../mint.js'
import type { GrowthOptions } from './options.js'
import { type Subject, throughput } from './rounds.js'
import { audience, readAccounts, residentMiB } from './servers.js'

/** An issuer with so many keys: reads with tokens that are new to the server, signed with all of the keys in turn. */
export async function prepareKeys(count: number, { folder, servers, seconds }: GrowthOptions) {
  const issuer = await startIssuer('ES256', count)
  const server = await servers.start({ issuer, dataFolder: join(folder, `keys-${count}`) })

  async function reads(requestCount: number) {
    const owners = Array.from({ length: requestCount }, () => 'owner')
    const requests = readAccounts(await issuer.mint(audience, owners, 'read:accounts'))
    return { label: 'reads, every token new', server, requests, expected: 'HTTP/1.1 200 ' }
  }

  await measureThroughput({ ...(await reads(12_000)), port: server.port, warmUp: 1 })
  const subject: Subject = {
    name: `${count.toLocaleString('en')} ${count === 1 ? 'key' : 'keys'}`,
    measure: async () => ({
      ...(await throughput(await reads(seconds * 4000))),
      'resident memory, MiB': residentMiB(server.process),
    }),
  }
  return { subject, check: async () => issuer.close() }
}
