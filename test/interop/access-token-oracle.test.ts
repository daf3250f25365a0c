import { allowInsecureRequests, clockSkew, clockTolerance, validateJwtAccessToken } from 'oauth4webapi'
import t from 'tap'
import { publicUrl, startTestApi } from '../helpers/test-api.js'
import { type Claims, makeKey, malleate, signCompact } from '../helpers/test-issuer.js'

const { call, clock, config, issuer, tokens } = await startTestApi(t)
const now = clock.nowSeconds
const { ES256, EdDSA, PS256, RS256 } = issuer.keys
const header = { alg: 'ES256', typ: 'at+jwt', kid: ES256.kid }

/** Whether oauth4webapi takes the token for valid, with the expectations that the API has. */
function clientAccepts(token: string): Promise<boolean> {
  const as = { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` }
  const request = new Request(`${publicUrl}/accounts`, { headers: { authorization: `Bearer ${token}` } })
  const options = {
    [allowInsecureRequests]: true,
    // The API's clock stands still.
    [clockSkew]: now - Math.floor(Date.now() / 1000),
    [clockTolerance]: config.CLOCK_LEEWAY,
    signingAlgorithms: [...config.ALGORITHMS],
  }
  return validateJwtAccessToken(as, request, publicUrl, options).then(
    () => true,
    () => false,
  )
}

/** Whether the API does. What the token may do is another question. */
async function apiAccepts(token: string): Promise<boolean> {
  const { status } = await call('GET', '/accounts', { token })
  if (![200, 401, 403].includes(status)) throw new Error(`a token was answered with ${status}`)
  return status !== 401
}

const withClaims = (changes: Claims) => tokens.read(changes)
const withHeader = (changes: Record<string, unknown>) => tokens.sign(tokens.claims(), changes)
const withText = (payload: string) => signCompact(header, payload, ES256)

/** The same token with one of the bits set that are left over in the last character of its signature. */
function respelled(): string {
  const token = withClaims({})
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return `${token.slice(0, -1)}${alphabet[alphabet.indexOf(token.at(-1) as string) + 1]}`
}

const valid: Record<string, string> = {
  'a plain token': withClaims({}),
  EdDSA: tokens.sign(tokens.claims(), {}, EdDSA),
  PS256: tokens.sign(tokens.claims(), {}, PS256),
  RS256: tokens.sign(tokens.claims(), {}, RS256),
  'typ in full': withHeader({ typ: 'application/at+jwt' }),
  'typ in another case': withHeader({ typ: 'AT+JWT' }),
  'aud with others': withClaims({ aud: ['https://other.example.com', publicUrl] }),
  'expired within the leeway': withClaims({ iat: now - 300, exp: now - 1 }),
  'nbf in the past': withClaims({ nbf: now - 60 }),
  'no scope': withClaims({ scope: undefined }),
  'a claim that nobody knows': withClaims({ anything: { at: ['all'] } }),
  'keys inside the header are not looked at': withHeader({
    jwk: makeKey('ES256').jwk,
    jku: 'https://evil.example.com',
  }),
  'the other ECDSA signature of the same key': malleate(withClaims({})),
}

const invalid: Record<string, string> = {
  'no JWT': 'mF_9.B5f-4.1JqM',
  'two parts': withClaims({}).split('.').slice(0, 2).join('.'),
  'typ JWT': withHeader({ typ: 'JWT' }),
  'no typ': withHeader({ typ: undefined }),
  'alg none': withHeader({ alg: 'none' }),
  'alg HS256': withHeader({ alg: 'HS256' }),
  'an algorithm that the key is not for': withHeader({ alg: 'RS256' }),
  'an unknown kid': withHeader({ kid: 'x' }),
  'the kid of another key': withHeader({ kid: PS256.kid }),
  'signed by somebody else': tokens.sign(tokens.claims(), {}, makeKey('ES256', ES256.kid)),
  'crit that nobody knows': withHeader({ crit: ['x'], x: 1 }),
  'a payload that is no object': withText('[]'),
  'a payload that is no JSON': withText('{'),
  'another issuer': withClaims({ iss: `${issuer.url}/` }),
  'an array of issuers': withClaims({ iss: [issuer.url] }),
  'another audience': withClaims({ aud: 'https://other.example.com' }),
  'an audience that only begins alike': withClaims({ aud: `${publicUrl}/` }),
  expired: withClaims({ exp: now - 60 }),
  'exp as a string': withClaims({ exp: String(now + 300) }),
  'iat as a string': withClaims({ iat: String(now) }),
  'not yet valid': withClaims({ nbf: now + 60 }),
  'nbf null': withClaims({ nbf: null }),
  'sub of another type': withClaims({ sub: 1 }),
  'client_id of another type': withClaims({ client_id: ['bank-web'] }),
  'jti of another type': withClaims({ jti: {} }),
  'bound to a confirmation method that is not known': withClaims({ cnf: { kid: 'x' } }),
  'bound to a DPoP key, sent as Bearer': withClaims({ cnf: { jkt: 'A'.repeat(43) } }),
  ...Object.fromEntries(
    ['iss', 'exp', 'aud', 'sub', 'iat', 'jti', 'client_id'].map((name) => [
      `no ${name}`,
      withClaims({ [name]: undefined }),
    ]),
  ),
}

/** Valid to oauth4webapi and not to this API, and why. */
const stricter: Record<string, string> = {
  'no kid: a key is never guessed': withHeader({ kid: undefined }),
  'RFC 4648 §3.5: a second spelling of the same bytes': respelled(),
  'RFC 4648 §3.5: padding': `${withClaims({})}==`,
  'a token of more than 8 KiB: everything has a limit': withClaims({ pad: 'x'.repeat(8000) }),
  'RFC 7519 §7.2: a byte order mark before the claims': withText(`\ufeff${JSON.stringify(tokens.claims())}`),
  'issued in the future': withClaims({ iat: now + 60 }),
  'times that are no integers': withClaims({ exp: now + 300.5 }),
  'an empty sub': withClaims({ sub: '' }),
  'an empty jti': withClaims({ jti: '' }),
  'a jti of more than 256 characters': withClaims({ jti: 'x'.repeat(257) }),
  'NUL in a sub, which PostgreSQL cannot store': withClaims({ sub: 'alice\0' }),
  'RFC 7519 §4.1.3: an aud with members that are no strings': withClaims({ aud: [publicUrl, 1] }),
  'RFC 6749 §3.3: scope as an array': withClaims({ scope: ['read:accounts'] }),
  'RFC 7800: a cnf that binds to nothing': withClaims({ cnf: {} }),
  'RFC 9396 §2: authorization_details that are no array': withClaims({ authorization_details: {} }),
}

t.test('RFC 9068 §4: validateJwtAccessToken of oauth4webapi and the API agree', async (t) => {
  for (const [tableName, table, expected] of [
    ['valid', valid, [true, true]],
    ['invalid', invalid, [false, false]],
    ['stricter', stricter, [true, false]],
  ] as const) {
    t.test(tableName, async (t) => {
      for (const [name, token] of Object.entries(table)) {
        t.strictSame([await clientAccepts(token), await apiAccepts(token)], expected, name)
      }
    })
  }
})
