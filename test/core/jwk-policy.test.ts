import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import t from 'tap'
import { importJwk } from '#src/core/jwk-policy.js'
import { KeySet, NoUsableKey } from '#src/keys/key-set.js'
import { makeKey, signCompact } from '../helpers/test-issuer.js'

type Jwk = Record<string, unknown>

const publicJwk = (pair: { publicKey: ReturnType<typeof createPublicKey> }): Jwk =>
  pair.publicKey.export({ format: 'jwk' })
const rsa = publicJwk(generateKeyPairSync('rsa', { modulusLength: 2048 }))
const p256 = publicJwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
const p384 = publicJwk(generateKeyPairSync('ec', { namedCurve: 'P-384' }))
const p521 = publicJwk(generateKeyPairSync('ec', { namedCurve: 'P-521' }))
const ed25519 = publicJwk(generateKeyPairSync('ed25519'))
const secretEc = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }) as Jwk
const secretEd = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as Jwk
const oct = { kty: 'oct', k: Buffer.alloc(32, 1).toString('base64url') }
const weakRsa = publicJwk(generateKeyPairSync('rsa', { modulusLength: 1024 }))
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']

/** An RSA modulus of this many bits; whether it has two prime factors is nobody's business here. */
const modulus = (bits: number): string => Buffer.alloc(bits / 8, 0xff).toString('base64url')
const exponent = (value: number): string =>
  Buffer.from([value >> 16, value >> 8, value].map((byte) => byte & 255)).toString('base64url')

const hex = (text: string): string => Buffer.from(text, 'hex').toString('base64url')

t.test('RFC 7518 §3.1: each algorithm is bound to one kind of key', async (t) => {
  const fitting: [Jwk, string[]][] = [
    [rsa, ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
    [p256, ['ES256']],
    [p384, ['ES384']],
    [p521, ['ES512']],
    [ed25519, ['EdDSA']],
    [oct, []],
    [publicJwk(generateKeyPairSync('ed448')), []],
    [publicJwk(generateKeyPairSync('x25519')), []],
    [publicJwk(generateKeyPairSync('ec', { namedCurve: 'secp256k1' })), []],
  ]
  for (const [jwk, fits] of fitting) {
    const imported = algorithms.filter((alg) => importJwk(jwk, alg) !== undefined)
    t.strictSame(imported, fits, `${jwk['kty']} ${jwk['crv'] ?? ''}`)
  }
  for (const alg of ['none', 'HS256', 'ES256K', 'es256', '', 'toString']) {
    for (const jwk of [rsa, p256, ed25519, oct]) t.equal(importJwk(jwk, alg), undefined, `${alg} is no algorithm`)
  }
})

t.test('the PEM is the key', async (t) => {
  const key = makeKey('ES256')
  const [header, payload, signature] = signCompact({ alg: 'ES256' }, { sub: 'alice' }, key).split('.')
  const pem = importJwk(key.jwk as Jwk, 'ES256') as string
  t.match(pem, /^-----BEGIN PUBLIC KEY-----\n/)
  const data = Buffer.from(`${header}.${payload}`)
  const options = { key: createPublicKey(pem), dsaEncoding: 'ieee-p1363' } as const
  t.ok(verify('sha256', data, options, Buffer.from(signature as string, 'base64url')))
})

t.test('members that allow or forbid verifying', async (t) => {
  const cases: [string, Jwk, string, boolean][] = [
    ['the same alg', { ...p256, alg: 'ES256' }, 'ES256', true],
    ['another alg', { ...rsa, alg: 'PS256' }, 'RS256', false],
    ['alg null', { ...rsa, alg: null }, 'RS256', false],
    ['RFC 9864 §2.2: Ed25519 is EdDSA on that curve', { ...ed25519, alg: 'Ed25519' }, 'EdDSA', true],
    ['Ed25519 for a key of another kind', { ...p256, alg: 'Ed25519' }, 'ES256', false],
    ['Ed448 for a key on another curve', { ...ed25519, alg: 'Ed448' }, 'EdDSA', false],
    ['RFC 7517 §4.2: use sig', { ...p256, use: 'sig' }, 'ES256', true],
    ['use enc', { ...p256, use: 'enc' }, 'ES256', false],
    ['use null', { ...p256, use: null }, 'ES256', false],
    ['use enc against key_ops', { ...p256, use: 'enc', key_ops: ['verify'] }, 'ES256', false],
    ['key_ops against use sig', { ...p256, use: 'sig', key_ops: ['encrypt'] }, 'ES256', false],
    ['RFC 7517 §4.3: key_ops with verify', { ...p256, key_ops: ['sign', 'verify'] }, 'ES256', true],
    ['key_ops without verify', { ...p256, key_ops: ['sign'] }, 'ES256', false],
    ['empty key_ops', { ...p256, key_ops: [] }, 'ES256', false],
    ['key_ops as a string', { ...p256, key_ops: 'verify' }, 'ES256', false],
    ['a private EC key', secretEc, 'ES256', false],
    ['a private Ed25519 key', secretEd, 'EdDSA', false],
    ['a private member, even empty', { ...p256, d: null }, 'ES256', false],
    ['a symmetric member', { ...rsa, k: 'AAAA' }, 'RS256', false],
    ['RSA of 1024 bits', weakRsa, 'RS256', false],
    ['RSA of 2040 bits', { ...rsa, n: modulus(2040) }, 'RS256', false],
    ['RSA of 8192 bits', { ...rsa, n: modulus(8192) }, 'RS256', true],
    ['RSA of 8200 bits', { ...rsa, n: modulus(8200) }, 'RS256', false],
    ['RSA without a modulus', { ...rsa, n: '' }, 'RS256', false],
    ['exponent 1', { ...rsa, e: 'AQ' }, 'RS256', false],
    ['exponent 3', { ...rsa, e: 'Aw' }, 'PS256', false],
    ['exponent 65537', { ...rsa, e: exponent(65_537) }, 'RS256', true],
    ['exponent 65539', { ...rsa, e: exponent(65_539) }, 'RS256', true],
    ['an even exponent', { ...rsa, e: exponent(65_538) }, 'RS256', false],
    ['FIPS 186-5 §5.1: an exponent of 256 bits', { ...rsa, e: hex('ff'.repeat(32)) }, 'RS256', true],
    ['an exponent of 257 bits', { ...rsa, e: hex(`01${'00'.repeat(31)}01`) }, 'RS256', false],
    ['a point off the curve', { ...p256, x: p256['y'], y: p256['x'] }, 'ES256', false],
    ['a coordinate that is missing', { ...p256, y: undefined }, 'ES256', false],
    ['a coordinate that is no text', { ...p256, x: 1 }, 'ES256', false],
    ['coordinates of another curve', { ...p384, crv: 'P-256' }, 'ES256', false],
    ['an Ed25519 key of the wrong length', { ...ed25519, x: 'AAAA' }, 'EdDSA', false],
    ['a crv for RSA, which has none', { ...rsa, crv: 'P-256' }, 'RS256', true],
    ['kty in another case', { ...p256, kty: 'ec' }, 'ES256', false],
    ['kty as an array', { ...p256, kty: ['EC'] }, 'ES256', false],
  ]
  for (const [name, jwk, alg, usable] of cases) t.equal(importJwk(jwk, alg) !== undefined, usable, name)
})

t.test('Ed25519 keys of small order, under which anybody can sign, are refused', async (t) => {
  const points = [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    ...['ec', 'ed', 'ee'].map((first) => `${first}${'ff'.repeat(30)}7f`),
  ].flatMap((point) => [point, point.slice(0, 62) + (Number.parseInt(point.slice(62), 16) | 0x80).toString(16)])
  for (const point of points) {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: hex(point) }
    t.equal(importJwk(jwk, 'EdDSA'), undefined, point)
  }
})

t.test('a JWK Set', async (t) => {
  t.test('is an object with an array of keys', async (t) => {
    for (const document of [null, 'keys', [p256], {}, { keys: { 0: p256 } }, { keys: null }]) {
      await t.rejects(KeySet.read(document, algorithms), { name: 'Error', message: 'the document is no JWK Set' })
    }
  })

  t.test('without a usable key is refused', async (t) => {
    const documents: [string, unknown][] = [
      ['no keys', { keys: [] }],
      ['odd members', { keys: [null, 1, 'x', [], {}] }],
      ['only a key without kid', { keys: [p256] }],
      ['only a kid that is an array', { keys: [{ ...p256, kid: ['a'] }] }],
      ['only a kid with a lone surrogate', { keys: [{ ...p256, kid: '\ud800' }] }],
      ['only a private key', { keys: [{ ...secretEc, kid: 'a' }] }],
      ['only a symmetric key', { keys: [{ ...oct, kid: 'a' }] }],
      ['only RSA of 1024 bits', { keys: [{ ...weakRsa, kid: 'a' }] }],
      ['only exponent 1', { keys: [{ ...rsa, e: 'AQ', kid: 'a' }] }],
      ['only an algorithm that is not ours', { keys: [{ ...p384, kid: 'a' }] }],
    ]
    for (const [name, document] of documents) {
      await t.rejects(KeySet.read(document, ['ES256', 'RS256']), NoUsableKey, name)
    }
  })

  t.test('finds a key by kid and alg, and only a usable one', async (t) => {
    const keys = [{ ...secretEc, kid: 'secret' }, null, { ...rsa, kid: 'rsa' }, { ...p256, kid: 'ec', alg: 'ES256' }]
    const set = await KeySet.read({ keys }, algorithms)
    t.strictSame(
      ['rsa', 'ec', 'secret', 'other', ''].map((kid) => set.has(kid)),
      [true, true, false, false, false],
    )
    t.match(await set.publicKey({ alg: 'RS256', kid: 'rsa' }), 'BEGIN PUBLIC KEY')
    t.match(
      await set.publicKey({ alg: 'PS256', kid: 'rsa' }),
      'BEGIN PUBLIC KEY',
      'a key without alg serves all of its kind',
    )
    t.equal(await set.publicKey({ alg: 'ES256', kid: 'rsa' }), undefined, 'another kind of key')
    t.equal(await set.publicKey({ alg: 'RS256', kid: 'ec' }), undefined, 'another alg')
    t.equal(await set.publicKey({ alg: 'ES256', kid: 'secret' }), undefined)
    t.equal(await set.publicKey({ alg: 'ES256', kid: 'none' }), undefined)
    const pem = await set.publicKey({ alg: 'ES256', kid: 'ec' })
    t.equal(pem, importJwk(p256, 'ES256'))
    t.equal(set.publicKey({ alg: 'ES256', kid: 'ec' }), set.publicKey({ alg: 'ES256', kid: 'ec' }), 'imported once')
  })

  t.test('of the same usable keys has the same text', async (t) => {
    const key = { ...p256, kid: 'a' }
    const one = await KeySet.read({ keys: [key] }, ['ES256'])
    const padded = await KeySet.read({ note: 'x', keys: [key, { ...oct, kid: 'b' }] }, ['ES256'])
    const other = await KeySet.read({ keys: [{ ...key, kid: 'c' }] }, ['ES256'])
    t.equal(one.text, padded.text)
    t.not(one.text, other.text)
    t.notMatch(padded.text, 'oct', 'what cannot be used is not kept')
  })

  t.test('RFC 7517 §4.5: different keys of one kid and alg are not used, whatever their order', async (t) => {
    const [one, two] = [makeKey('ES256', 'same').jwk, makeKey('ES256', 'same').jwk] as [Jwk, Jwk]
    const header = { alg: 'ES256', kid: 'same' }
    const other = { ...ed25519, kid: 'same' }
    for (const keys of [
      [one, two, other],
      [other, two, one],
      [one, other, two, one],
    ]) {
      const set = await KeySet.read({ keys }, algorithms)
      t.equal(await set.publicKey(header), undefined)
      t.match(await set.publicKey({ alg: 'EdDSA', kid: 'same' }), 'BEGIN PUBLIC KEY', 'a key of another kind is used')
      t.strictSame(set.ambiguous, ['ES256 same'])
    }
    await t.rejects(KeySet.read({ keys: [one, two] }, algorithms), NoUsableKey)

    const twice = await KeySet.read({ keys: [one, { ...one, use: undefined, alg: undefined }] }, algorithms)
    t.equal(await twice.publicKey(header), importJwk(one, 'ES256'), 'the same key twice is one key')
    t.strictSame(twice.ambiguous, [])
    const beside = await KeySet.read({ keys: [{ ...two, use: 'enc' }, one] }, algorithms)
    t.equal(await beside.publicKey(header), importJwk(one, 'ES256'), 'a key that is unusable makes nothing ambiguous')

    const bound = { ...rsa, kid: 'rsa', alg: 'RS256' }
    const unbound = { ...publicJwk(generateKeyPairSync('rsa', { modulusLength: 2048 })), kid: 'rsa' }
    const set = await KeySet.read({ keys: [bound, unbound] }, ['RS256', 'PS256'])
    t.equal(await set.publicKey({ alg: 'RS256', kid: 'rsa' }), undefined)
    t.equal(await set.publicKey({ alg: 'PS256', kid: 'rsa' }), importJwk(unbound, 'PS256'), 'only one may verify PS256')
  })

  t.test('keeps only what matters for verifying', async (t) => {
    let deep: unknown = 'x'
    for (let depth = 0; depth < 50_000; depth += 1) deep = [deep]
    const key = { ...rsa, kid: 'a', alg: 'RS256' }
    const plain = await KeySet.read({ keys: [key] }, ['RS256'])
    const laden = await KeySet.read({ keys: [{ ...key, use: 'sig', x5c: ['AA'], crv: deep, extra: deep }] }, ['RS256'])
    t.equal(laden.text, plain.text)
    t.strictSame(Object.keys(JSON.parse(plain.text).keys[0]).toSorted(), ['alg', 'e', 'kid', 'kty', 'n'])
  })
})
