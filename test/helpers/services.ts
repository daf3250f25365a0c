import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

/** Programs of other projects that tests run, by the names of Debian's packages. */
const programs = { postgresql: 'postgres', 'redis-server': 'redis-server', openssl: 'openssl', nginx: 'nginx' }
const postgresFolder = '/usr/lib/postgresql'

export type Service = keyof typeof programs

/**
 * For the `skip` option of a test: why it cannot run on this machine, or false. Under `CI=true` it throws instead, because
 * there nothing may go untested.
 */
export function missingService(...services: Service[]): string | false {
  const missing = services.filter((service) => !runs(service))
  if (missing.length === 0) return false
  const reason = `missing on this machine: apt-get install ${missing.join(' ')}`
  if (process.env['CI'] === 'true') throw new Error(reason)
  return reason
}

/** How to call a program of PostgreSQL: where Debian keeps the newest version, which is not on the PATH, else by its name. */
export function postgresProgram(name: string): string {
  const versions = existsSync(postgresFolder) ? readdirSync(postgresFolder).map(Number) : []
  const paths = versions.sort((one, other) => other - one).map((version) => `${postgresFolder}/${version}/bin/${name}`)
  return paths.find((path) => existsSync(path)) ?? name
}

function runs(service: Service): boolean {
  const program = service === 'postgresql' ? postgresProgram('postgres') : programs[service]
  return spawnSync(program, ['--version']).error === undefined
}
