/** The authentication schemes that carry an access token here: RFC 6750 and RFC 9449 §7.1. */
export type TokenScheme = 'Bearer' | 'DPoP'

/**
 * What a request's credentials amount to. `none` is a caller who did not authenticate in a way that is ours;
 * `malformed` is one who tried and got the form wrong (RFC 6750 §3.1, `invalid_request`).
 */
export type Credentials =
  | { kind: 'token'; scheme: TokenScheme; token: string }
  | { kind: 'none' }
  | { kind: 'malformed'; scheme: TokenScheme }

const schemePattern = /^(bearer|dpop)(?![!#$%&'*+.^_`|~0-9a-z-])/i
const credentialsPattern = /^(?:bearer|dpop) +([A-Za-z0-9._~+/-]+=*)$/i

/**
 * Reads `Authorization: Bearer <token68>` (RFC 6750 §2.1) or `Authorization: DPoP <token68>` (RFC 9449 §7.1). Does not accept a
 * token from the query, the body or a cookie (OAuth 2.1 §5.1), and calls a request that uses two methods at once malformed:
 * of the scheme that its first field names. Does not look at the `DPoP` field.
 *
 * @param rawHeaders names and values in turn, as in `IncomingMessage.rawHeaders`
 * @param tokenInQuery whether the query holds an `access_token` parameter
 * @param dpop whether DPoP is a scheme of ours
 */
export function readCredentials(
  rawHeaders: readonly string[],
  { tokenInQuery, dpop }: { tokenInQuery: boolean; dpop: boolean },
): Credentials {
  const [authorization, another] = readFields(rawHeaders, 'authorization')
  const scheme = authorization === undefined ? undefined : readScheme(authorization, dpop)
  if (another !== undefined) return { kind: 'malformed', scheme: scheme ?? 'Bearer' }
  if (authorization === undefined || scheme === undefined) return { kind: 'none' }
  const token = credentialsPattern.exec(authorization)?.[1]
  return token === undefined || tokenInQuery ? { kind: 'malformed', scheme } : { kind: 'token', scheme, token }
}

function readScheme(authorization: string, dpop: boolean): TokenScheme | undefined {
  const scheme = schemePattern.exec(authorization)?.[1]?.toLowerCase()
  if (scheme === 'bearer') return 'Bearer'
  return scheme === 'dpop' && dpop ? 'DPoP' : undefined
}

/**
 * The values of every field line of a name, in order. From raw header pairs, because Node drops a second Authorization field
 * silently and joins the lines of others.
 */
export function readFields(rawHeaders: readonly string[], lowerCaseName: string): string[] {
  const values: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) {
      values.push(rawHeaders[index + 1] as string)
    }
  }
  return values
}
