import { type Configuration, configurations } from './apps.js'
import { Client, openings } from './client.js'
import { checkPromises } from './invariants.js'
import type { PlantedBug } from './planted-bugs.js'
import { probeTruth } from './probes.js'
import { Deployment, type Replica } from './replicas.js'
import { TimeSteps } from './time-steps.js'
import { issuer } from './tokens.js'
import { VirtualTimers } from './virtual-timers.js'
import { faults, type Step, Violation, World } from './world.js'

/** When every schedule begins: a whole minute. */
const originMs = 1_700_000_040_000
/** Processes start this long before, so that none refuses tokens of the schedule's beginning. */
const startUpMs = 10_000
const maxSteps = 80
const maxClosingSteps = 400

export interface Outcome {
  seed: number
  configuration: Configuration
  /** The promise that was broken, or the stack of the error that ended the schedule; undefined when all were kept. */
  violation: string | undefined
  trace: readonly string[]
}

export interface ScheduleOptions {
  /** Chosen by the seed when not given. */
  configuration?: Configuration | undefined
  planted?: PlantedBug | undefined
}

/** An outcome for people: what was broken, what happened, and how to see it again. */
export function report({ seed, configuration, violation, trace }: Outcome): string {
  const command = `npm run simulate -- --seed ${seed} --configuration ${configuration}`
  return [...trace.map((line) => `  ${line}`), violation ?? 'every promise was kept', command].join('\n')
}

/** An error that is no violation is a mistake somewhere: its stack says where, and the seed still makes it again. */
function describe(error: unknown): string {
  if (error instanceof Violation) return error.message
  return error instanceof Error ? (error.stack ?? String(error)) : `thrown: ${String(error)}`
}

/** Runs schedules one after another in this process. Needs `close`, since it replaces timers. */
export class Simulation {
  readonly #timers = new VirtualTimers()

  close(): void {
    this.#timers.restore()
  }

  /** Runs the schedule that a seed stands for: the same every time. */
  async run(seed: number, { configuration: wanted, planted }: ScheduleOptions = {}): Promise<Outcome> {
    const world = new World(seed, originMs - startUpMs)
    const drawn = world.random.pick([...configurations, 'ledger'] as const)
    const configuration = planted?.configuration ?? wanted ?? drawn
    this.#timers.serve(world)
    let violation: string | undefined
    try {
      await this.#play(world, { configuration, planted })
    } catch (error) {
      violation = describe(error)
    } finally {
      this.#timers.serve(undefined)
    }
    return { seed, configuration, violation, trace: world.trace }
  }

  async #play(
    world: World,
    { configuration, planted }: { configuration: Configuration; planted: PlantedBug | undefined },
  ) {
    const deployment = await Deployment.start(world, configuration, planted)
    world.nowMs = originMs
    await deployment.ledger.openAccounts(issuer, openings)
    const client = new Client(deployment)
    const time = new TimeSteps(deployment, client)
    const { random } = world
    if (random.chance(0.8)) await this.#finish(deployment, client)
    const likelihood = random.pick([0, 0.15, 0.3, 0.6])
    world.allowed = new Set(faults.filter(() => random.chance(likelihood)))
    world.note(`${configuration}, ${deployment.rings}, ${[...world.allowed].join(' ') || 'no faults'}`)
    time.begin()
    for (let count = 0; count < maxSteps && !(client.isDone && deployment.isIdle); count += 1) {
      const going = this.#steps(deployment, client)
      await take(
        world,
        random.weighted([...going, ...client.beginnings(), ...time.steps(), ...troubleSteps(deployment)]),
      )
    }
    world.allowed = new Set()
    time.align()
    await this.#finish(deployment, client)
    const check = () => checkPromises(deployment, client.attempts, time.clockRangeMs)
    check()
    await probeTruth({ deployment, client, finish: () => this.#finish(deployment, client), time })
    check()
  }

  /** Lets everything under way come to its end. */
  async #finish(deployment: Deployment, client: Client): Promise<void> {
    const { world } = deployment
    for (let count = 0; count < maxClosingSteps; count += 1) {
      const step = world.random.weighted(this.#steps(deployment, client))
      if (step === undefined) return
      await take(world, step)
    }
    throw new Violation('it does not come to an end')
  }

  #steps({ world, calls, redis, replicas }: Deployment, client: Client): Step[] {
    const connections = replicas.flatMap(({ connection }) => connection ?? [])
    return [
      ...client.steps(),
      ...calls.steps(),
      ...redis.steps(),
      ...connections.flatMap((connection) => connection.steps()),
      ...this.#timers.steps(world.allowed.has('slow-redis')),
    ]
  }
}

/** One thing happens, and all that follows from it. */
async function take(world: World, step: Step | undefined): Promise<void> {
  if (step === undefined) return
  world.note(step.name)
  await step.run()
  await world.settle()
}

/** What befalls replicas and Redis by itself. */
function troubleSteps({ world, configuration, replicas, redis }: Deployment): Step[] {
  const { allowed, random } = world
  const steps: Step[] = []
  const replica = random.pick(replicas) as Replica
  if (allowed.has('restart')) {
    steps.push({ weight: 0.7, name: `${replica.name} restarts`, run: () => replica.restart() })
  }
  if (configuration !== 'ledger') return steps
  const prune = () => replica.slot.parts.ledger.prune(replica.nowMs())
  steps.push({ weight: 2, name: `${replica.name} prunes`, run: prune })
  if (allowed.has('lost-keys')) {
    steps.push({ weight: 1, name: 'redis loses its keys', run: () => redis.lose('all') })
    steps.push({ weight: 1, name: 'redis loses a key', run: () => redis.lose('one') })
  }
  return steps
}
