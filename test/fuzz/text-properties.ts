import fc from 'fast-check'
import { customFetch, protectedResourceRequest, WWWAuthenticateChallengeError } from 'oauth4webapi'
import { serializeChallenge } from '#src/core/challenge.js'
import { isCanonicalCompactJwt } from '#src/core/compact-jwt.js'

/** Challenges with any text, read by another implementation. */
export function challenges() {
  const text = fc.oneof(
    fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
    fc.constantFrom('', '"', '\\', '\\"', 'scope="x"', ', Bearer scope="x"', 'a, b=c', '=', ' '),
  )
  const maybe = fc.option(text, { nil: undefined })
  const challenge = fc.record({
    scheme: fc.constant('Bearer' as const),
    realm: text,
    error: fc.constantFrom('invalid_token', 'insufficient_scope', undefined),
    scope: maybe,
    acrValues: maybe,
    maxAgeSeconds: fc.option(fc.nat(), { nil: undefined }),
    resourceMetadata: fc.webUrl(),
    errorDescription: maybe,
  })
  return fc.asyncProperty(challenge, async (written) => {
    const expected = {
      realm: written.realm,
      error: written.error,
      scope: written.scope,
      acr_values: written.acrValues,
      max_age: written.maxAgeSeconds?.toString(),
      resource_metadata: written.resourceMetadata,
      error_description: written.errorDescription,
    }
    const read = await readByClient(serializeChallenge(written))
    const present = Object.entries(expected).filter(([, value]) => value !== undefined)
    if (JSON.stringify(read) !== JSON.stringify([['bearer', present]])) throw new Error(JSON.stringify(read))
  })
}

/** What oauth4webapi reads in a challenge, in the order of the line. */
async function readByClient(line: string): Promise<unknown> {
  const answer = new Response(null, { status: 401, headers: { 'www-authenticate': line } })
  const error: unknown = await protectedResourceRequest('x', 'GET', new URL('https://api.example'), undefined, null, {
    [customFetch]: async () => answer,
  }).catch((reason: unknown) => reason)
  if (!(error instanceof WWWAuthenticateChallengeError)) throw new Error(`no challenge: ${line}`)
  return error.cause.map(({ scheme, parameters }) => [scheme, Object.entries(parameters)])
}

/** Texts of the characters that make spellings differ. */
export function spellings() {
  const part = fc.string({ unit: fc.constantFrom(...'ABQgw08EIMUYckos-_=+/. '), maxLength: 9 })
  return fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 4 }), async (parts) => {
    const text = parts.join('.')
    const split = text.split('.')
    const canonical = split.length === 3 && split.every(isCanonical)
    if (isCanonicalCompactJwt(text) !== canonical) throw new Error(JSON.stringify(text))
  })
}

function isCanonical(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}
