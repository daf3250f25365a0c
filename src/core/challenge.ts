/** A challenge as data (RFC 9110 §11.6.1): what a refusal asks the client to do. Undefined members are left out, never empty. */
export interface Challenge {
  realm: string
  error?: 'invalid_request' | 'invalid_token' | 'insufficient_scope' | 'insufficient_user_authentication' | undefined
  scope?: string | undefined
  /** Space-separated, in order of preference; one of them is enough (RFC 9470 §3). */
  acrValues?: string | undefined
  maxAgeSeconds?: number | undefined
  /** Address of the RFC 9728 document. */
  resourceMetadata: string
  errorDescription?: string | undefined
}

/**
 * Writes the `WWW-Authenticate` field line of the Bearer scheme. The order is fixed and the description stands last,
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
    ['resource_metadata', challenge.resourceMetadata],
    ['error_description', challenge.errorDescription],
  ]
  return `Bearer ${parameters
    .filter((parameter): parameter is [string, string] => parameter[1] !== undefined)
    .map(([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`)
    .join(', ')}`
}
