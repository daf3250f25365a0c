import { createHash, createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { type Expected, refuseToken } from '../helpers/refusals.js'
import { balances, startTestApi } from '../helpers/test-api.js'
import { makeKey, type SigningKey, signCompact, TestIssuer } from '../helpers/test-issuer.js'

type Members = Record<string, unknown>

/** A key as the issuer publishes it, with the private half to sign with. */
interface PublishedKey extends SigningKey {
  published: Members
}

function publish(key: SigningKey, changes: Members = {}): PublishedKey {
  return { ...key, published: { ...key.jwk, ...changes } }
}

function rsaKey(kid: string, modulusLength: number, publicExponent: number): PublishedKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256' }
  return publish({ kid, alg: 'RS256', privateKey, jwk })
}

const es256 = makeKey('ES256', 'es256')
const rs256 = makeKey('RS256', 'rs256')
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const privateMembers = es256.privateKey.export({ format: 'jwk' }) as Members

/** Keys that a sound issuer would never publish, or never for signing access tokens. */
const refused: [string, PublishedKey][] = [
  ['RSA of 1024 bits', rsaKey('rsa-1024', 1024, 65_537)],
  ['RSA with the exponent 3', rsaKey('rsa-e3', 2048, 3)],
  ['a private key', publish({ ...es256, kid: 'private' }, { d: privateMembers['d'], kid: 'private' })],
  ['use: enc', publish(makeKey('ES256', 'enc'), { use: 'enc' })],
  ['use: odd', publish(makeKey('ES256', 'use-odd'), { use: ['sig'] })],
  ['key_ops: encrypt', publish(makeKey('ES256', 'ops-encrypt'), { use: undefined, key_ops: ['encrypt'] })],
  ['key_ops: sign', publish(makeKey('ES256', 'ops-sign'), { use: undefined, key_ops: ['sign'] })],
  ['key_ops: none', publish(makeKey('ES256', 'ops-none'), { use: undefined, key_ops: [] })],
  ['key_ops: a text', publish(makeKey('ES256', 'ops-text'), { use: undefined, key_ops: 'verify' })],
  ['another alg', publish(makeKey('ES256', 'other-alg'), { alg: 'ES384' })],
  ['an encryption alg', publish(makeKey('RS256', 'rsa-oaep'), { alg: 'RSA-OAEP-256' })],
  ['an empty alg', publish(makeKey('ES256', 'empty-alg'), { alg: '' })],
  ['another kty', publish(makeKey('ES256', 'other-kty'), { kty: 'RSA' })],
  ['kty in lower case', publish(makeKey('ES256', 'lower-kty'), { kty: 'ec' })],
  ['a point off the curve', publish(makeKey('ES256', 'off-curve'), { y: randomBytes(32).toString('base64url') })],
  ['no x', publish(makeKey('ES256', 'no-x'), { x: undefined })],
  [
    'another curve',
    publish(
      { kid: 'p384', alg: 'ES256', privateKey: p384.privateKey, jwk: { kid: 'p384' } },
      { ...p384.publicKey.export({ format: 'jwk' }), kid: 'p384', alg: 'ES256' },
    ),
  ],
]

/** Keys in unusual but allowed form. */
const accepted: [string, PublishedKey][] = [
  ['no alg', publish(makeKey('ES256', 'no-alg'), { alg: undefined })],
  ['no use', publish(makeKey('ES256', 'no-use'), { use: undefined })],
  ['key_ops: verify', publish(makeKey('ES256', 'ops-verify'), { use: undefined, key_ops: ['verify'] })],
  ['members nobody knows', publish(makeKey('ES256', 'more'), { x5c: ['AA'], x5t: 'AA', oth: undefined, extra: {} })],
  ['a kid that is a prototype name', publish(makeKey('ES256', 'constructor'))],
  ['a kid with odd characters', publish(makeKey('ES256', '../k?d#"\\ ä'))],
  ['RSA of 3072 bits', rsaKey('rsa-3072', 3072, 65_537)],
]

/** With the exponent 1 a signature is the padded digest itself, so anybody can sign. */
const exponentOne = { ...rs256.jwk, kid: 'rsa-e1', e: 'AQ' }
const secret = randomBytes(32)
const symmetric = { kty: 'oct', k: secret.toString('base64url'), kid: 'oct', alg: 'HS256' }
const symmetricAsEs256 = { ...symmetric, kid: 'oct-es256', alg: 'ES256' }
/** RFC 7517 §4.5: keys of different types may share a kid. */
const shared = [makeKey('ES256', 'shared'), makeKey('RS256', 'shared'), makeKey('EdDSA', 'shared')]
const withoutAlg = [makeKey('RS256', 'shared-no-alg'), makeKey('ES256', 'shared-no-alg')]
/** An unusable key in front of a sound one of the same kid. */
const behind = makeKey('ES256', 'behind')

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
/** Another issuer, whose set the last tests change. */
const changing = await TestIssuer.start()
t.teardown(() => changing.stop())
const sound = changing.published
issuer.published = [
  null,
  1,
  'key',
  [],
  {},
  { kid: 'empty' },
  { ...es256.jwk, kid: undefined },
  { ...es256.jwk, kid: 1 },
  es256.jwk,
  rs256.jwk,
  ...[...refused, ...accepted].map(([, { published }]) => published),
  exponentOne,
  symmetric,
  symmetricAsEs256,
  ...shared.map(({ jwk }) => jwk),
  ...withoutAlg.map(({ jwk }) => ({ ...jwk, alg: undefined })),
  { ...makeKey('ES256', 'behind').jwk, use: 'enc' },
  behind.jwk,
]

const api = await startTestApi(t, { issuer })
const { call, tokens } = api
const opening = await balances(api)
const strong = () => tokens.claims({ scope: 'read:accounts transfer:funds', acr: 'urn:stepgate:acr:mfa' })

t.test('sound keys are used, whatever else the set holds', async (t) => {
  for (const [name, key] of [...accepted, ['plain', es256] as const, ['behind an unusable one', behind] as const]) {
    t.equal((await call('GET', '/accounts', { token: tokens.sign(tokens.claims(), {}, key) })).status, 200, name)
  }
})

t.test('8725-3.4-1 (RFC 8725 §3.4): keys off the curve or else excluded are never used', async (t) => {
  for (const [name, key] of refused) await refuseToken(t, api, tokens.sign(strong(), {}, key), name)
})

t.test('an exponent of 1 lets nobody in', async (t) => {
  const token = signCompact({ alg: 'RS256', typ: 'at+jwt', kid: 'rsa-e1' }, strong(), rs256)
  const input = token.slice(0, token.lastIndexOf('.'))
  const sha256Prefix = Buffer.from('3031300d060960864801650304020105000420', 'hex')
  const digest = Buffer.concat([sha256Prefix, createHash('sha256').update(input).digest()])
  const padding = Buffer.alloc(256 - 3 - digest.length, 0xff)
  const forged = Buffer.concat([Buffer.from([0, 1]), padding, Buffer.from([0]), digest])
  await refuseToken(t, api, `${input}.${forged.toString('base64url')}`, 'forged')
})

t.test('8725-3.5-1 (RFC 8725 §3.5): a symmetric key, even one that the issuer published, signs nothing', async (t) => {
  for (const { kid } of [symmetric, symmetricAsEs256]) {
    for (const alg of ['HS256', 'ES256', 'RS256']) {
      const token = signCompact({ alg, typ: 'at+jwt', kid }, strong(), es256)
      const input = token.slice(0, token.lastIndexOf('.'))
      const mac = createHmac('sha256', secret).update(input).digest('base64url')
      await refuseToken(t, api, `${input}.${mac}`, `${alg} with ${kid}`)
    }
  }
})

t.test('8725-3.1-3 (RFC 8725 §3.1): keys that share a kid are each bound to one algorithm', async (t) => {
  for (const key of [...shared, ...withoutAlg]) {
    const token = tokens.sign(tokens.claims(), {}, key)
    t.equal((await call('GET', '/accounts', { token })).status, 200, `${key.alg} of ${key.kid}`)
  }
  for (const key of shared) {
    for (const { alg } of shared.filter((other) => other !== key)) {
      await refuseToken(t, api, tokens.sign(strong(), { alg }, key), `${alg}, signed as ${key.alg}`)
    }
  }
})

t.test('a set without a usable key is no set: 503, and recovery once the issuer publishes one', async (t) => {
  changing.published = [symmetric, exponentOne, refused[0]?.[1].published]
  const other = await startTestApi(t, { issuer: changing })
  const token = other.tokens.read()
  const refusal = await other.call('GET', '/accounts', { token })
  t.equal(refusal.status, 503)
  t.match(refusal.body['type'], /keys-unavailable$/)
  t.match(refusal.headers.get('retry-after'), /^\d+$/)
  changing.published = sound
  other.clock.advance(5000)
  t.equal((await other.call('GET', '/accounts', { token })).status, 200)
})

t.test('a key that the issuer withdrew is used no more, not even for tokens verified before', async (t) => {
  const other = await startTestApi(t, { issuer: changing })
  const { ES256, EdDSA } = changing.keys
  const [old, fresh] = [ES256, EdDSA].map((key) => other.tokens.sign(other.tokens.claims(), {}, key)) as [
    string,
    string,
  ]
  changing.published = [ES256.jwk]
  t.equal((await other.call('GET', '/accounts', { token: old })).status, 200)
  changing.published = [EdDSA.jwk]
  other.clock.advance(5000)
  t.equal((await other.call('GET', '/accounts', { token: fresh })).status, 200, 'the new key is found at once')
  await refuseToken(t, other, old, 'by the old key')
})

t.test('while the issuer is out of reach known keys serve, and an unknown kid is 503 rather than 401', async (t) => {
  const other = await startTestApi(t, { issuer: changing })
  changing.published = sound
  const unknown = other.tokens.sign(other.tokens.claims(), {}, makeKey('ES256', 'unknown'))
  t.equal((await other.call('GET', '/accounts', { token: other.tokens.read() })).status, 200)
  changing.override = (_request, response) => {
    response.writeHead(500).end()
    return true
  }
  other.clock.advance(5000)
  const outage: Expected = [503, 'keys-unavailable']
  await refuseToken(t, other, unknown, 'unknown kid', { read: outage, transfer: outage })
  t.equal((await other.call('GET', '/accounts', { token: other.tokens.read() })).status, 200, 'a known kid')
  await refuseToken(t, other, 'x', 'no JWT is 401 also now')
  changing.override = undefined
  other.clock.advance(5000)
  await refuseToken(t, other, unknown, 'after the outage')
})

t.test('after all this the server answers and no money has moved', async (t) => {
  t.equal((await call('GET', '/livez')).status, 200)
  t.strictSame(await balances(api), opening)
})
