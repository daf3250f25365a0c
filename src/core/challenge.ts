import type { TokenScheme } from './credentials.js'

/** A challenge as data (RFC 9110 §11.6.1): what a refusal asks the client to do. Undefined members are left out, never empty. */
export interface Challenge {
  scheme: TokenScheme
  /** Of the Bearer scheme alone. */
  realm?: string | undefined
  error?:
    | 'invalid_request'
    | 'invalid_token'
    | 'insufficient_scope'
    | 'insufficient_user_authentication'
    | 'invalid_dpop_proof'
    | 'use_dpop_nonce'
    | undefined
  scope?: string | undefined
  /** Space-separated, in order of preference; one of them is enough (RFC 9470 §3). */
  acrValues?: string | undefined
  maxAgeSeconds?: number | undefined
  /** Algorithms of proofs, space-separated; of the DPoP scheme alone (RFC 9449 §7.1). */
  algorithms?: string | undefined
  /** Address of the RFC 9728 document. */
  resourceMetadata: string
  errorDescription?: string | undefined
}

/**
 * Writes one `WWW-Authenticate` field line. The order is fixed and the description stands last,
 * because some clients search the line by pattern and the word `scope=` inside a description must not win. Every value
 * is a quoted string (RFC 9110 §5.6.4).
 */
export function serializeChallenge(challenge: Challenge): string {
  const parameters: [string, string | undefined][] = [
    ['realm', challenge.realm],
    ['error', challenge.error],
    ['scope', challenge.scope],
    ['acr_values', challenge.acrValues],
    ['max_age', challenge.maxAgeSeconds?.toString()],
    ['algs', challenge.algorithms],
    ['resource_metadata', challenge.resourceMetadata],
    ['error_description', challenge.errorDescription],
  ]
  return `${challenge.scheme} ${parameters
    .filter((parameter): parameter is [string, string] => parameter[1] !== undefined)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`)
    .join(', ')}`
}
