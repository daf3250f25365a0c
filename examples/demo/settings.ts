import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { acr } from '../authorization-server/step-up-rule.js'

/** Where the demo listens and keeps its data. */
export interface DemoSettings {
  readonly apiPort: number
  readonly apiUrl: string
  readonly issuerPort: number
  readonly issuer: string
  readonly bankWebPort: number
  /** The bank's front end. */
  readonly bankWebUrl: string
  readonly intranetPort: number
  readonly intranetUrl: string
  /** As the user wrote it; relative to the package's folder. */
  readonly dataFolder: string
}

/** The only address that the demo listens on. */
export const demoHost = '127.0.0.1'

/** What the demo's API asks for in a step-up challenge. */
export const demoStepUp = { acrValues: acr.multiFactor, maxAgeSeconds: 300 } as const

const defaultApiPort = 3000
const defaultIssuerPort = 4000
const defaultBankWebPort = 3001
const defaultIntranetPort = 4200

/** The package's folder. The compiled file stands three folders below it. */
export const packageFolder = fileURLToPath(new URL('../../../', import.meta.url))

/** A path of the package, wherever the process was started. */
export function inPackage(path: string): string {
  return join(packageFolder, path)
}

/**
 * Reads `DEMO_API_PORT`, `DEMO_ISSUER_PORT`, `DEMO_BANK_PORT`, `DEMO_INTRANET_PORT` and `DEMO_DATA_DIR`. Throws an Error that
 * begins with the name of the variable at fault. Touches no port and no file.
 */
export function readDemoSettings(environment: NodeJS.ProcessEnv): DemoSettings {
  const apiPort = readPort(environment, 'DEMO_API_PORT', defaultApiPort)
  const issuerPort = readPort(environment, 'DEMO_ISSUER_PORT', defaultIssuerPort)
  const bankWebPort = readPort(environment, 'DEMO_BANK_PORT', defaultBankWebPort)
  const intranetPort = readPort(environment, 'DEMO_INTRANET_PORT', defaultIntranetPort)
  if (apiPort === issuerPort) throw new Error('DEMO_ISSUER_PORT: must be another port than the API has')
  if ([apiPort, issuerPort].includes(bankWebPort)) throw new Error('DEMO_BANK_PORT: must be a port of its own')
  if ([apiPort, issuerPort, bankWebPort].includes(intranetPort))
    throw new Error('DEMO_INTRANET_PORT: must be a port of its own')
  // Accounts belong to a user of one issuer, and the port is part of the issuer's name, so another port has its own data.
  const defaultFolder = issuerPort === defaultIssuerPort ? './data/demo' : `./data/demo-${issuerPort}`
  return {
    apiPort,
    apiUrl: `http://${demoHost}:${apiPort}`,
    issuerPort,
    issuer: `http://${demoHost}:${issuerPort}`,
    bankWebPort,
    bankWebUrl: `http://${demoHost}:${bankWebPort}`,
    intranetPort,
    intranetUrl: `http://${demoHost}:${intranetPort}`,
    dataFolder: environment['DEMO_DATA_DIR'] || defaultFolder,
  }
}

function readPort(environment: NodeJS.ProcessEnv, name: string, fallback: number): number {
  const text = environment[name] || String(fallback)
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new Error(`${name}: must be a port number, 1 to 65535`)
  return port
}
