import t, { type Test } from 'tap'
import { readConfig } from '#src/config.js'
import { refuseToken } from '../helpers/refusals.js'
import { acrMfa, publicUrl, startTestApi, type TestApi } from '../helpers/test-api.js'
import { type Claims, makeKey, signCompact, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const api = await startTestApi(t, { issuer })
const { tokens } = api
const keys = Object.values(issuer.keys)
const strong = (changes: Claims = {}): Claims =>
  tokens.claims({ scope: 'read:accounts transfer:funds', acr: acrMfa, ...changes })

async function accept(t: Test, { call }: Pick<TestApi, 'call'>, token: string, label: string): Promise<void> {
  t.equal((await call('GET', '/accounts', { token })).status, 200, label)
}

t.test('8725-3.2-1 (RFC 8725 §3.2): an algorithm that is not configured counts for nothing', async (t) => {
  const narrow = await startTestApi(t, { issuer, environment: { ALGORITHMS: 'EdDSA' } })
  for (const key of keys.filter(({ alg }) => alg !== 'EdDSA')) {
    const token = tokens.sign(strong(), {}, key)
    await accept(t, api, token, `${key.alg} where it is configured`)
    await refuseToken(t, narrow, token, `${key.alg} where it is not`)
  }
})

t.test('8725-3.2-2 (RFC 8725 §3.2): no symmetric, broken or absent algorithm can be configured', async (t) => {
  for (const alg of ['none', 'HS256', 'HS384', 'HS512', 'RS1', 'RSA1_5', 'ES256K', 'dir']) {
    const read = readConfig({ ISSUER: issuer.url, AUDIENCE: publicUrl, ALGORITHMS: `ES256 ${alg}` })
    t.ok('faults' in read && read.faults.some((fault) => fault.startsWith('ALGORITHMS: ')), alg)
  }
})

t.test('8725-3.2-3 (RFC 8725 §3.2): algorithms are a matter of configuration, one by one', async (t) => {
  for (const { alg } of keys) {
    const single = await startTestApi(t, { issuer, environment: { ALGORITHMS: alg } })
    for (const key of keys) {
      const token = tokens.sign(strong(), {}, key)
      if (key.alg === alg) await accept(t, single, token, alg)
      else await refuseToken(t, single, token, `${key.alg} while only ${alg} is configured`)
    }
  }
})

t.test('8725-3.2-4 (RFC 8725 §3.2): none is refused, even with a key that the issuer publishes for it', async (t) => {
  const published = issuer.published
  issuer.published = [...published, { ...makeKey('ES256', 'unsigned').jwk, alg: 'none' }]
  t.teardown(() => {
    issuer.published = published
  })
  const other = await startTestApi(t, { issuer })
  for (const kid of ['unsigned', issuer.keys.ES256.kid]) {
    const token = signCompact({ alg: 'none', typ: 'at+jwt', kid }, strong(), issuer.keys.ES256)
    await refuseToken(t, other, token.replace(/[^.]+$/, ''), kid)
  }
})

t.test('8725-3.7-1 (RFC 8725 §3.7): header and claims are UTF-8, without mark, and in no other encoding', async (t) => {
  const key = issuer.keys.ES256
  const header = JSON.stringify({ alg: key.alg, typ: 'at+jwt', kid: key.kid })
  const claims = JSON.stringify(strong({ name: 'Ærø' }))
  const [goodHeader, goodClaims] = [Buffer.from(header), Buffer.from(claims)]
  await accept(t, api, signCompact(goodHeader, goodClaims, key), 'UTF-8')
  const odd: [string, (text: string) => Buffer][] = [
    ['UTF-8 with a mark', (text) => Buffer.from(`\ufeff${text}`)],
    ['UTF-16', (text) => Buffer.from(text, 'utf16le')],
    ['UTF-16 with a mark', (text) => Buffer.from(`\ufeff${text}`, 'utf16le')],
  ]
  for (const [name, encode] of odd) {
    await refuseToken(t, api, signCompact(encode(header), goodClaims, key), `header in ${name}`)
    await refuseToken(t, api, signCompact(goodHeader, encode(claims), key), `claims in ${name}`)
  }
  const latin1 = Buffer.from(JSON.stringify(strong({ sub: 'Ærø' })), 'latin1')
  await refuseToken(t, api, signCompact(goodHeader, latin1, key), 'a subject in Latin-1')
})

t.test('8725-3.8-1 (RFC 8725 §3.8): a key of another issuer signs nothing for ours', async (t) => {
  const other = await TestIssuer.start()
  t.teardown(() => other.stop())
  for (const key of Object.values(other.keys)) {
    await refuseToken(t, api, tokens.sign(strong(), {}, key), `${key.alg}, with our iss`)
    await refuseToken(t, api, tokens.sign(strong({ iss: other.url }), {}, key), `${key.alg}, with its own iss`)
  }
  t.strictSame(other.requests, [], 'which is not even asked')
})

t.test('8725-3.9-1 (RFC 8725 §3.9): a JWT without audience, or for another, is refused', async (t) => {
  for (const aud of [undefined, null, '', [], 'bank-web', ['bank-web'], issuer.url])
    await refuseToken(t, api, tokens.sign(strong({ aud })), `aud ${JSON.stringify(aud)}`)
})

t.test('8725-3.12-1 (RFC 8725 §3.12): every other kind of JWT by the same issuer and key is refused', async (t) => {
  const kinds: [string, string | undefined, Claims][] = [
    ['an ID token', 'JWT', { nonce: 'x', client_id: undefined, azp: 'bank-web' }],
    ['an ID token without typ', undefined, { nonce: 'x' }],
    ['a logout token', 'logout+jwt', { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }],
    ['a security event', 'secevent+jwt', { events: {} }],
    ['an introspection answer', 'token-introspection+jwt', { token_introspection: { active: true } }],
    ['a request object', 'oauth-authz-req+jwt', { response_type: 'code' }],
    ['a client assertion', 'client-authentication+jwt', {}],
    ['a DPoP proof', 'dpop+jwt', { htm: 'GET', htu: `${publicUrl}/accounts` }],
  ]
  for (const [name, typ, claims] of kinds) await refuseToken(t, api, tokens.sign(strong(claims), { typ }), name)
})
