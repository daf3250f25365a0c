import { randomInt } from 'node:crypto'
import t from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { startTestApi } from '../helpers/test-api.js'
import { fuzzProperties } from './properties.js'
import { fuzzEnvironment, WatchedApi } from './watched-api.js'

// A new seed each time, which a failure names; `npm run fuzz -- --seed N` looks longer.
const limits = { seed: randomInt(2 ** 31), numRuns: 200, interruptAfterTimeLimit: 5000 }

const api = await startTestApi(t, { environment: fuzzEnvironment })
const watched = new WatchedApi(api)

for (const { name, check } of fuzzProperties(watched)) {
  t.test(name, async (t) => {
    t.ok((await check(limits)) > 0)
  })
}

t.test('after all this the books balance', async (t) => {
  t.ok(watched.acknowledged.length > 0, 'some money moved')
  await auditBank(t, api.folder, watched.acknowledged)
})
