import { setTimeout as delay } from 'node:timers/promises'
import { answer, checkAnswers, isExpected } from './answers.js'
import { stepgate } from './candidates.js'
import { measureThroughput } from './load.js'
import { type BenchCase, startEntrant } from './load-case.js'
import { residentMB, stop } from './processes.js'
import { readAccounts } from './world.js'

const tokenCount = 10_000
const idleMs = 2000
/** The second time around every answer comes from the cache. */
const timesSent = 2

/** The memory of the server once its cache of verified tokens is full, two seconds after the last request, and at its peak. */
export const memoryCase: BenchCase = {
  name: 'memory',
  run: async ({ rounds, world: findWorld }) => {
    const world = await findWorld('RS256')
    const requests = (await world.tokens(tokenCount)).map((token) => readAccounts(token))
    const expected = answer(world.accounts)
    const holds = (text: string) => isExpected(text, expected)
    const resident: number[] = []
    const peak: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const { process, port } = await startEntrant({ candidate: stepgate, expected }, world, '0')
      try {
        await checkAnswers({ ...stepgate, port }, requests[0] as Buffer, expected)
        for (let time = 0; time < timesSent; time += 1) {
          await measureThroughput({ port, requests, warmUp: 1, expected: 'HTTP/1.1 200 ', holds })
        }
        await delay(idleMs)
        resident.push(residentMB(process))
        peak.push(residentMB(process, 'VmHWM'))
      } finally {
        await stop(process)
      }
    }
    return {
      name: 'memory',
      title: `resident memory with ${tokenCount} verified RS256 tokens cached`,
      notes: [`${timesSent * tokenCount} requests, then two seconds of rest`],
      measured: [{ name: stepgate.name, figures: { 'resident, MB': resident, 'peak, MB': peak } }],
      goals: [{ candidate: stepgate.name, figure: 'resident, MB', bound: 'most', goal: 150, stretch: 120 }],
    }
  },
}
