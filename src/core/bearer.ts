/**
 * What a request's credentials amount to. `none` is a caller who did not authenticate in a way that is ours;
 * `malformed` is one who tried and got the form wrong (RFC 6750 §3.1, `invalid_request`).
 */
export type BearerCredentials = { kind: 'token'; token: string } | { kind: 'none' } | { kind: 'malformed' }

const bearerScheme = /^bearer(?![!#$%&'*+.^_`|~0-9a-z-])/i
const bearerCredentials = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i

/**
 * Reads `Authorization: Bearer <b64token>` (RFC 6750 §2.1). Takes raw header pairs, because Node drops a second
 * Authorization field silently. Does not accept a token from the query, the body or a cookie (OAuth 2.1 §5.1), and
 * calls a request that uses two methods at once malformed.
 *
 * @param rawHeaders names and values in turn, as in `IncomingMessage.rawHeaders`
 * @param tokenInQuery whether the query holds an `access_token` parameter
 */
export function readBearerCredentials(rawHeaders: readonly string[], tokenInQuery: boolean): BearerCredentials {
  let authorization: string | undefined
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string
    if (name.length !== 13 || name.toLowerCase() !== 'authorization') continue
    if (authorization !== undefined) return { kind: 'malformed' }
    authorization = rawHeaders[index + 1] as string
  }
  if (authorization === undefined || !bearerScheme.test(authorization)) return { kind: 'none' }
  const token = bearerCredentials.exec(authorization)?.[1]
  return token === undefined || tokenInQuery ? { kind: 'malformed' } : { kind: 'token', token }
}
