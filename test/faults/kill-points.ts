/** Where a process can be killed, and what a point needs to be passed at all. */
interface KillPoint {
  /** What was done when the process dies, and what was not. */
  at: string
  needs?: 'sqlite' | 'postgres' | 'redis'
  /** Passed only when a claim is given back, hence needs requests that repeat an Idempotency-Key with a fresh token. */
  isRelease?: true
}

/** Every step between which the server is killed, in the order of a transfer. `docs/faults.md` lists the same. */
export const killPoints = {
  'request-begins': { at: 'the head of the request was read, nothing was checked' },
  'memory-asked': { at: 'every check has passed, no ring was asked' },
  'memory-claimed': { at: "ring 1, the process's memory, has the claim, Redis was not asked" },
  'redis-claim-sent': { at: 'the claim was sent to Redis, its answer was not used', needs: 'redis' },
  'redis-claimed': { at: 'Redis has the claim, the ledger was not asked', needs: 'redis' },
  'booking-begins': { at: 'every ring has answered, nothing was sent to the ledger' },
  'sqlite-written': { at: 'the transaction of a group is written, but not committed', needs: 'sqlite' },
  'sqlite-committed': { at: 'the transaction of a group is committed, nobody was told', needs: 'sqlite' },
  'postgres-sent': { at: 'the statement was sent to PostgreSQL, its answer was not used', needs: 'postgres' },
  'booking-decided': { at: 'the ledger has decided for good, no answer was made' },
  'release-begins': { at: 'a claim is to be given back, no ring was told', isRelease: true },
  'redis-release-sent': {
    at: 'Redis was told to forget a claim, its answer was not read',
    needs: 'redis',
    isRelease: true,
  },
  'redis-released': { at: 'Redis has forgotten a claim, the memory has not', needs: 'redis', isRelease: true },
  'release-ends': { at: 'every ring has forgotten a claim, no answer was made', isRelease: true },
  'answer-sent': { at: 'the kernel has the whole answer' },
  'random-moment': { at: 'anything: killed from outside after 1 to 60 ms of load' },
  'while-starting': { at: 'killed from outside under load, and again while it starts on what is left' },
} as const satisfies Record<string, KillPoint>

export type KillPointName = keyof typeof killPoints

/** The points that a server with these parts can pass. */
export function pointsFor(ledger: 'sqlite' | 'postgres', redis: boolean): KillPointName[] {
  return (Object.entries(killPoints) as [KillPointName, KillPoint][])
    .filter(([, { needs }]) => needs === undefined || needs === ledger || (needs === 'redis' && redis))
    .map(([name]) => name)
}

/** Whether a point is passed only when a claim is given back. */
export function isRelease(name: KillPointName): boolean {
  return (killPoints[name] as KillPoint).isRelease === true
}

/** What the parent sends to a process that is to die. */
export interface Arming {
  point: KillPointName
  /** Which passing is the last, from 1. */
  passing: number
}

let armed: Arming | undefined

/** From now on passings of a point are counted. */
export function arm({ point, passing }: Arming): void {
  armed = { point, passing }
}

/** Ends this process at once, as `kill -9` does, when it has passed the armed point often enough. */
export function pass(point: KillPointName): void {
  if (armed?.point !== point) return
  armed.passing -= 1
  if (armed.passing === 0) process.kill(process.pid, 'SIGKILL')
}
