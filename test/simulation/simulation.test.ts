import t from 'tap'
import { type PlantedBug, plantedBugs } from './planted-bugs.js'
import { type Outcome, report, type ScheduleOptions, Simulation } from './simulation.js'
import { World } from './world.js'

const schedules = 2000
/** No planted bug may take longer to be found. */
const mostSeeds = 2000

const simulation = new Simulation()
t.teardown(() => simulation.close())

/** The first schedule whose outcome is like this. */
async function findOutcome(
  isWanted: (outcome: Outcome) => boolean,
  options: ScheduleOptions & { limit: number },
): Promise<Outcome | undefined> {
  for (let seed = 0; seed < options.limit; seed += 1) {
    const outcome = await simulation.run(seed, options)
    if (isWanted(outcome)) return outcome
  }
  return undefined
}

/** Whether a schedule shows this bug's own harm. */
function shows({ expected, after = /^/ }: PlantedBug, { violation = '', trace }: Outcome): boolean {
  return expected.test(violation) && trace.some((line) => after.test(line))
}

t.test(`every promise is kept in ${schedules} schedules`, async (t) => {
  const outcome = await findOutcome(({ violation }) => violation !== undefined, { limit: schedules })
  t.equal(outcome && report(outcome), undefined)
})

t.test('the same seed makes the same schedule, whatever ran before it', async (t) => {
  const seeds = Array.from({ length: 60 }, (_, seed) => seed)
  const traces = new Map<number, readonly string[]>()
  for (const seed of seeds) traces.set(seed, (await simulation.run(seed)).trace)
  for (const seed of seeds.reverse()) t.strictSame((await simulation.run(seed)).trace, traces.get(seed), `seed ${seed}`)
  t.equal(new Set([...traces.values()].map((trace) => trace.join())).size, seeds.length, 'and others make others')
})

t.test('a planted bug is found by the harm it does', async (t) => {
  for (const planted of plantedBugs) {
    await t.test(planted.name, async (t) => {
      const outcome = await findOutcome((outcome) => shows(planted, outcome), { limit: mostSeeds, planted })
      t.ok(outcome, `found in ${mostSeeds} schedules`)
      const { seed, configuration, violation } = outcome as Outcome
      t.comment(`seed ${seed}: ${violation}`)
      t.match(
        report(await simulation.run(seed, { planted })),
        `npm run simulate -- --seed ${seed} --configuration ${configuration}`,
      )
      t.equal((await simulation.run(seed, { configuration })).violation, undefined, 'and is not there without it')
    })
  }
})

t.test('a mistake that is no broken promise tells its seed as well', async (t) => {
  const planted: PlantedBug = {
    name: 'a ledger that cannot be made',
    configuration: 'ledger',
    expected: /TypeError/,
    makeLedger: () => {
      throw new TypeError('no ledger')
    },
  }
  const text = report(await simulation.run(7, { planted }))
  t.match(text, /TypeError: no ledger\n +at /)
  t.match(text, 'npm run simulate -- --seed 7 --configuration ledger')
})

t.test('an answer that cannot be read ends the schedule', async (t) => {
  const world = new World(0, 1)
  world.fail(new TypeError('not JSON'))
  await t.rejects(world.settle(), new TypeError('not JSON'))
})
