import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

/** What tests run of other projects, by the names of Debian's packages, and the programs that it takes to run them. */
const programs = {
  postgresql: ['postgres', 'setpriv', 'ipcrm'],
  'redis-server': ['redis-server', 'setpriv'],
  nginx: ['nginx', 'setpriv'],
  openssl: ['openssl'],
} as const
const toolPackages: Partial<Record<string, string>> = { setpriv: 'util-linux', ipcrm: 'util-linux' }
const postgresFolder = '/usr/lib/postgresql'
const leastPostgres = 15

export type Service = keyof typeof programs

/**
 * For the `skip` option of a test: why it cannot run on this machine, or false. Under `CI=true` it throws instead, because
 * there nothing may go untested.
 */
export function missingService(...services: Service[]): string | false {
  const lacking = new Set(services.flatMap(findLacking))
  if (lacking.size === 0) return false
  const reason = `missing on this machine: ${[...lacking].join(', ')}`
  if (process.env['CI'] === 'true') throw new Error(reason)
  return reason
}

/** What a service needs and this machine has not, in words. */
function findLacking(service: Service): string[] {
  if (process.platform !== 'linux') return ['Linux']
  return programs[service].flatMap((program) => {
    const version = readVersion(program === 'postgres' ? postgresProgram(program) : program)
    if (version === undefined) return [`${program} (apt-get install ${toolPackages[program] ?? service})`]
    if (program !== 'postgres') return []
    const major = Number(/\d+/.exec(version)?.[0])
    return major >= leastPostgres ? [] : [`PostgreSQL ${leastPostgres} or newer, not ${version.trim()}`]
  })
}

/** How to call a program of PostgreSQL: where Debian keeps the newest version, which is not on the PATH, else by its name. */
export function postgresProgram(name: string): string {
  const versions = existsSync(postgresFolder) ? readdirSync(postgresFolder).map(Number) : []
  const paths = versions.sort((one, other) => other - one).map((version) => `${postgresFolder}/${version}/bin/${name}`)
  return paths.find((path) => existsSync(path)) ?? name
}

/** What a program says about its version; undefined when there is none of its name. */
function readVersion(program: string): string | undefined {
  const { error, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  return error === undefined ? stdout : undefined
}
