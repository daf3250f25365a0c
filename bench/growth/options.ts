import type { Issuer } from '../mint.js'
import type { Servers } from './servers.js'

export interface GrowthOptions {
  /** Everything is written there. */
  folder: string
  servers: Servers
  /** Of ES256 tokens, with one key. */
  issuer: Issuer
  /** How long one measurement takes, about. */
  seconds: number
  transfersPerSecond: number
}
