import fc from 'fast-check'
import { proofs } from './proof-properties.js'
import { addresses, bodies } from './request-properties.js'
import { challenges, spellings } from './text-properties.js'
import { credentials, tokens, transferTokens } from './token-properties.js'
import type { WatchedApi } from './watched-api.js'

/** How long to look for a counterexample. */
export interface FuzzLimits {
  seed: number
  numRuns: number
  /** Milliseconds after which no further run begins. */
  interruptAfterTimeLimit?: number
}

/** Something that must hold for whatever fast-check comes up with. */
export interface FuzzProperty {
  name: string
  /** Returns the number of runs. Throws when the property does not hold: the message has the seed and the counterexample. */
  check: (limits: FuzzLimits) => Promise<number>
}

/** Every property, over an API that is watched. */
export function fuzzProperties(watched: WatchedApi): FuzzProperty[] {
  return [
    named('a token is valid exactly if jose says so, but for what is listed', tokens(watched)),
    named('a transfer token with odd claims moves money once or not at all', transferTokens(watched)),
    named('RFC 6750 §2.1: one Authorization field with one valid token, or nobody is let in', credentials(watched)),
    named('RFC 9449 §4.3: a DPoP proof is valid exactly if jose and the list of checks say so, once', proofs(watched)),
    named('a body is a transfer or is refused, and what is refused burns no token', bodies(watched)),
    named('an address and a method are served or refused', addresses(watched)),
    named('RFC 9110 §11.6.1: a challenge is read back as what was written', challenges()),
    named('RFC 4648 §3.5: a compact JWS has one spelling', spellings()),
  ]
}

function named<Ts>(name: string, property: fc.IAsyncProperty<Ts>): FuzzProperty {
  return {
    name,
    async check(limits) {
      const details = await fc.check(property, { ...limits, includeErrorInReport: true })
      // Without a counterexample it only ran out of time.
      if (details.counterexample !== null) throw new Error(await fc.asyncDefaultReportMessage(details))
      return details.numRuns
    },
  }
}
