/** A word of RFC 2119, a level of the ASVS, or none where a sentence says without such a word what goes over the wire. */
export type Level =
  | 'MUST'
  | 'MUST NOT'
  | 'REQUIRED'
  | 'SHOULD'
  | 'SHOULD NOT'
  | 'RECOMMENDED'
  | 'L1'
  | 'L2'
  | 'L3'
  | 'none'

/** One demand of a standard. The title of the one test that covers it starts with its id. */
export interface Clause {
  /** `<number of the RFC>-<section>-<count within the section>`, or `ASVS-<requirement>`. */
  id: string
  level: Level
  /** Verbatim, without line breaks; `[…]` stands for what was left out. */
  sentence: string
  /** Why it asks nothing of this resource server; absent when it applies. */
  doesNotApply?: string
}

export interface Standard {
  name: string
  title: string
  address: string
  /** Which sections are not listed, and why. */
  leftOut?: string
  clauses: readonly Clause[]
}

/** Reasons that many clauses share. */
export const fallsOn = {
  client: 'falls on the client',
  authorizationServer: 'falls on the authorization server',
  deployment: 'falls on the deployment, since TLS ends in front of this server',
} as const
