import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type PlantedBug, plantedBugs } from './planted-bugs.js'
import { type Outcome, report, type ScheduleOptions, Simulation } from './simulation.js'
import { type Fault, World } from './world.js'

const schedules = 1200
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

/** By which steps each fault is seen in a trace. */
const signs: Record<Fault, readonly RegExp[]> = {
  refusal: [/booking.* is refused$/, /payment is refused$/, /booking.* cannot be read$/],
  'lost-answer': [/booking.* loses its answer$/, /payment loses its answer$/],
  'lost-request': [/booking.* is lost$/, /payment is lost$/],
  'late-commit': [/ is given up$/, / commits late$/, / never comes$/],
  'slow-redis': [
    /: SET.* misses its deadline$/,
    /: EVAL.* misses its deadline$/,
    /: SET.* is done$/,
    / looks at redis again$/,
  ],
  'redis-error': [/: SET.* is refused$/, /: EVAL.* is refused$/, /: TIME is refused$/],
  'broken-connection': [/: breaks$/, /: connects again$/, /^redis comes to SET/, /^redis comes to EVAL/],
  'lost-keys': [/^redis loses its keys$/, /^redis loses a key$/],
  restart: [/ restarts$/],
  'clock-step': [/^the clock of [A-C] is -?\d/, /^the clock of redis is -?\d/],
  'slow-body': [/ sends its body$/],
}
/** What is no fault and must happen all the same. */
const otherSigns = [/ finds its key in use$/, / prunes$/, / pass$/, / replayed$/]

t.test(`every promise is kept in ${schedules} schedules, in which everything happens that can`, async (t) => {
  const steps = new Map<string, number>()
  const outcome = await findOutcome(
    ({ violation, trace }) => {
      for (const line of trace) steps.set(line, (steps.get(line) ?? 0) + 1)
      return violation !== undefined
    },
    { limit: schedules },
  )
  t.equal(outcome && report(outcome), undefined)
  for (const sign of [...Object.values(signs).flat(), ...otherSigns]) {
    const seen = [...steps].reduce((sum, [step, times]) => sum + (sign.test(step) ? times : 0), 0)
    t.ok(seen > 0, `${sign}: ${seen} times`)
  }
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

t.test('a run of no schedules is refused, since it would prove nothing', async (t) => {
  const program = fileURLToPath(new URL('simulate.js', import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--schedules', '0'], { encoding: 'utf8' })
  t.equal(status, 1)
  t.match(stderr, 'expected at least one schedule')
  t.equal(stdout, '')
})
