import t from 'tap'
import { plantedBugs } from './planted-bugs.js'
import { type Outcome, report, type ScheduleOptions, Simulation } from './simulation.js'

const schedules = 2000
/** No planted bug may take longer to be found. */
const mostSeeds = 2000

const simulation = new Simulation()
t.teardown(() => simulation.close())

/** The first schedule that breaks a promise. */
async function findViolation(count: number, options: ScheduleOptions = {}): Promise<Outcome | undefined> {
  for (let seed = 0; seed < count; seed += 1) {
    const outcome = await simulation.run(seed, options)
    if (outcome.violation !== undefined) return outcome
  }
  return undefined
}

t.test(`every promise is kept in ${schedules} schedules`, async (t) => {
  const outcome = await findViolation(schedules)
  t.equal(outcome && report(outcome), undefined)
})

t.test('the same seed makes the same schedule, whatever ran before it', async (t) => {
  const seeds = Array.from({ length: 60 }, (_, seed) => seed)
  const traces = new Map<number, readonly string[]>()
  for (const seed of seeds) traces.set(seed, (await simulation.run(seed)).trace)
  for (const seed of seeds.reverse()) t.strictSame((await simulation.run(seed)).trace, traces.get(seed), `seed ${seed}`)
  t.equal(new Set([...traces.values()].map((trace) => trace.join())).size, seeds.length, 'and others make others')
})

t.test('a planted bug is found', async (t) => {
  for (const planted of plantedBugs) {
    await t.test(planted.name, async (t) => {
      const outcome = await findViolation(mostSeeds, { planted })
      const { seed, configuration, violation } = outcome ?? (await simulation.run(mostSeeds, { planted }))
      t.type(violation, 'string', 'found')
      t.comment(`seed ${seed}: ${violation}`)
      t.match(
        report(await simulation.run(seed, { planted })),
        `npm run simulate -- --seed ${seed} --configuration ${configuration}`,
      )
      t.equal((await simulation.run(seed, { configuration })).violation, undefined, 'and is not there without it')
    })
  }
})
