import { createHmac, createPublicKey, type JsonWebKey, sign } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { CompactEncrypt, importJWK, type JWK } from 'jose'
import t, { type Test } from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, refuseToken } from '../helpers/refusals.js'
import { balances, startTestApi } from '../helpers/test-api.js'
import { makeKey, type SigningKey, signCompact, TestIssuer } from '../helpers/test-issuer.js'

const api = await startTestApi(t)
const { call, issuer, tokens } = api
const opening = await balances(api)
const keys = Object.values(issuer.keys)
const strong = () => JSON.parse(Buffer.from(tokens.transfer().split('.')[1] as string, 'base64url').toString())

/** A genuine ES256 signature over a signing input that `signCompact` would not make. */
function signText(input: string): string {
  const key = { key: issuer.keys.ES256.privateKey, dsaEncoding: 'ieee-p1363' } as const
  return sign('sha256', Buffer.from(input), key).toString('base64url')
}

async function accept(t: Test, token: string, label: string): Promise<void> {
  t.equal((await call('GET', '/accounts', { token })).status, 200, label)
}

t.test('each algorithm is accepted with the key that is bound to it', async (t) => {
  for (const key of keys) await accept(t, tokens.sign(tokens.claims(), {}, key), key.alg)
})

t.test('8725-3.1-2 (RFC 8725 §3.1): no algorithm is accepted with the key of another', async (t) => {
  for (const key of keys) {
    for (const { alg } of keys.filter((other) => other !== key)) {
      const claims = strong()
      await refuseToken(t, api, tokens.sign(claims, { alg }, key), `header ${alg}, signed as ${key.alg}`)
      // One RSA key can make both RS256 and PS256 signatures: only the JWK's alg says which one it is for.
      const bothRsa = /^[RP]S/.test(key.alg) && /^[RP]S/.test(alg)
      if (bothRsa)
        await refuseToken(t, api, tokens.sign(claims, {}, { ...key, alg }), `${alg} by the key for ${key.alg}`)
    }
  }
})

t.test('a signature by a key that is not the one named is refused', async (t) => {
  for (const key of keys) {
    for (const other of keys.filter((candidate) => candidate !== key)) {
      const token = tokens.sign(strong(), { alg: key.alg, kid: key.kid }, other)
      await refuseToken(t, api, token, `${other.alg} key under the kid of ${key.alg}`)
    }
    const stranger = makeKey(key.alg, key.kid)
    await refuseToken(t, api, tokens.sign(strong(), {}, stranger), `a stranger's key under the kid of ${key.alg}`)
  }
})

t.test('8725-3.1-1 (RFC 8725 §3.1): algorithms outside the list are refused, whoever signs', async (t) => {
  const names = [
    'none',
    'None',
    'NONE',
    'nOnE',
    'HS256',
    'HS384',
    'HS512',
    'RS1',
    'ES256K',
    'Ed25519',
    'es256',
    'ES256 ',
  ]
  const odd = ['', null, 1, true, ['ES256'], {}, '__proto__', 'constructor', 'toString', undefined]
  for (const alg of [...names, ...odd]) {
    const token = tokens.sign(strong(), { alg })
    await refuseToken(t, api, token, `alg ${JSON.stringify(alg)}`)
    await refuseToken(t, api, token.replace(/[^.]+$/, 'AA'), `alg ${JSON.stringify(alg)} with a stub of a signature`)
    await refuseToken(t, api, token.replace(/[^.]+$/, ''), `alg ${JSON.stringify(alg)} without signature`)
  }
})

t.test('ASVS-9.1.2 (OWASP ASVS 9.1.2): the text of a public key is no HMAC secret', async (t) => {
  for (const { jwk, kid } of keys) {
    const publicKey = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
    const der = publicKey.export({ type: 'spki', format: 'der' })
    const modulus = Buffer.from(jwk.n ?? jwk.x ?? '', 'base64url')
    for (const secret of [pem, pem.trim(), der, JSON.stringify(jwk), modulus, '']) {
      const token = tokens.sign(strong(), { alg: 'HS256', kid })
      const input = token.slice(0, token.lastIndexOf('.'))
      const mac = createHmac('sha256', secret).update(input).digest('base64url')
      await refuseToken(t, api, `${input}.${mac}`, `HS256 with the key ${kid}`)
    }
  }
})

t.test('8725-3.10-1 (RFC 8725 §3.10): a kid that names no key asks the issuer at most once', async (t) => {
  const { kid } = issuer.keys.ES256
  const kids: unknown[] = [
    undefined,
    null,
    '',
    0,
    1,
    true,
    {},
    [],
    [kid],
    [[kid]],
    { toString: kid },
    'unknown',
    `${kid} `,
    kid.toLowerCase(),
    `${kid}\u0000`,
    'x'.repeat(257),
    'x'.repeat(4000),
    '../../../../etc/passwd',
    '/dev/null',
    "' or 1=1 --",
    'http://127.0.0.1/key',
    '\ud800',
    `${kid}\udfff`,
    '__proto__',
    'constructor',
    'toString',
  ]
  await accept(t, tokens.read(), 'the keys are loaded')
  const askedBefore = issuer.requests.filter((path) => path === '/jwks').length
  for (const unknown of kids) {
    await refuseToken(t, api, tokens.sign(strong(), { kid: unknown }), `kid ${JSON.stringify(unknown)?.slice(0, 40)}`)
  }
  const asked = issuer.requests.filter((path) => path === '/jwks').length - askedBefore
  t.ok(asked <= 1, `the issuer was asked ${asked} times`)
})

const attacker = await TestIssuer.start()
t.teardown(() => attacker.stop())
const embedded = {
  jwk: attacker.keys.ES256.jwk,
  x5c: [Buffer.from(JSON.stringify(attacker.keys.ES256.jwk)).toString('base64')],
  x5t: 'AAAA',
}
const addresses = { jku: `${attacker.url}/jwks`, x5u: `${attacker.url}/cert`, iss: attacker.url }

/** Header members that offer a key of the attacker's do not help a forged token, and do not harm a genuine one. */
async function ignoreMembers(t: Test, variants: Record<string, unknown>[]): Promise<void> {
  const { kid } = issuer.keys.ES256
  const stranger = attacker.keys.ES256
  for (const members of variants) {
    const names = Object.keys(members).join(', ')
    await refuseToken(t, api, tokens.sign(strong(), { ...members, kid }, stranger), `${names}, our kid`)
    await refuseToken(t, api, tokens.sign(strong(), members, stranger), `${names}, the stranger's kid`)
    await accept(t, tokens.sign(tokens.claims(), members), `${names} do not matter under a genuine signature`)
  }
}

t.test('ASVS-9.1.3 (OWASP ASVS 9.1.3): keys inside the header are never used', async (t) => {
  const { jwk, x5c } = embedded
  await ignoreMembers(t, [{ jwk }, { x5c }, embedded, { ...embedded, ...addresses }])
})

t.test('8725-3.10-2 (RFC 8725 §3.10): addresses inside the header are never called', async (t) => {
  const { jku, x5u } = addresses
  await ignoreMembers(t, [{ jku }, { x5u }, addresses])
  t.strictSame(attacker.requests, [])
})

t.test('RFC 7515 §4.1.11: crit in any form is refused', async (t) => {
  for (const crit of [null, [], ['exp'], ['b64'], ['x'], 'exp', {}, 0, false]) {
    await refuseToken(t, api, tokens.sign(strong(), { crit, exp: 1, b64: true }), `crit ${JSON.stringify(crit)}`)
  }
})

t.test('RFC 7797 §6: a payload that is not encoded is refused, with and without crit', async (t) => {
  const { alg, kid } = issuer.keys.ES256
  const payload = JSON.stringify(strong())
  for (const crit of [['b64'], undefined]) {
    const header = JSON.stringify({ alg, typ: 'at+jwt', kid, b64: false, crit })
    const head = Buffer.from(header).toString('base64url')
    const plain = Buffer.from(payload).toString('base64url')
    const over = (text: string) => signText(`${head}.${text}`)
    await refuseToken(t, api, `${head}.${plain}.${over(payload)}`, 'signed as it is, sent encoded')
    await refuseToken(t, api, `${head}..${over(payload)}`, 'detached')
    const sent = await exchangeOne(
      api.port,
      rawRequest('GET', '/accounts', [`Authorization: Bearer ${head}.${payload}.${over(payload)}`]),
    )
    checkRefusal(t, sent, [400, 'invalid-request'], 'sent as it is')
  }
})

t.test('RFC 7516, RFC 7519 §5.2: nothing is decrypted, unpacked or looked for inside another token', async (t) => {
  const inner = tokens.transfer()
  const claims = JSON.stringify(strong())
  const { jwk, kid } = issuer.keys.RS256
  const signed = (payload: Buffer | string, member: Record<string, string>) => {
    const header = { alg: 'ES256', typ: 'at+jwt', kid: issuer.keys.ES256.kid, ...member }
    const input = [JSON.stringify(header), payload].map((part) => Buffer.from(part).toString('base64url')).join('.')
    return `${input}.${signText(input)}`
  }
  await refuseToken(t, api, signed(inner, { cty: 'JWT' }), 'nested')
  await refuseToken(t, api, signed(JSON.stringify(inner), { cty: 'JWT' }), 'nested, as a JSON string')
  await refuseToken(t, api, signed(deflateRawSync(claims), { zip: 'DEF' }), 'compressed')
  const publicKey = await importJWK(jwk as JWK, 'RSA-OAEP-256')
  for (const [plaintext, cty] of [
    [claims, undefined],
    [inner, 'JWT'],
  ] as const) {
    const encrypted = await new CompactEncrypt(Buffer.from(plaintext))
      .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid, typ: 'at+jwt', ...(cty && { cty }) })
      .encrypt(publicKey)
    await refuseToken(t, api, encrypted, 'encrypted with the public key of the issuer')
  }
})

t.test('8725-3.11-1 (RFC 8725 §3.11): typ is at+jwt, also with application/, in any case', async (t) => {
  for (const typ of ['at+jwt', 'AT+JWT', 'At+Jwt', 'application/at+jwt', 'Application/AT+JWT']) {
    await accept(t, tokens.sign(tokens.claims(), { typ }), typ)
  }
  const odd = ['JWT', 'jwt', '', 'at+jwt;x', 'at+jwt ', ' at+jwt', 'xat+jwt', 'text/at+jwt', 'application/jwt']
  const wrong = ['id_token+jwt', 'logout+jwt', 'dpop+jwt', undefined, null, 1, true, ['at+jwt'], { typ: 'at+jwt' }]
  for (const typ of [...odd, ...wrong]) {
    await refuseToken(t, api, tokens.sign(strong(), { typ }), `typ ${JSON.stringify(typ)}`)
  }
})

t.test('header members that stand twice are never mixed', async (t) => {
  const { kid } = issuer.keys.ES256
  const es256 = `{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${kid}"}`
  const none = `{"alg":"ES256","alg":"none","typ":"at+jwt","kid":"${kid}"}`
  const forged = `{"kid":"${kid}","alg":"ES256","typ":"at+jwt","kid":"x"}`
  const signed = (header: string, key: SigningKey = issuer.keys.ES256) => signCompact(header, strong(), key)
  await accept(t, signed(es256), 'the last one counts')
  await refuseToken(t, api, signed(none), 'alg none last')
  await refuseToken(t, api, signed(forged), 'an unknown kid last')
  await refuseToken(t, api, signed(es256, makeKey('ES256')), 'alg twice, by a stranger')
})

t.test('a token may have 8192 characters and no more', async (t) => {
  const sized = (length: number) => {
    const empty = tokens.read({ pad: '' }).length
    const pad = Math.floor(((length - empty) * 3) / 4)
    const token = [0, 1, 2]
      .map((less) => tokens.read({ pad: 'x'.repeat(pad + 2 - less) }))
      .find((x) => x.length <= length)
    return token as string
  }
  const largest = sized(8192)
  t.ok(largest.length > 8188)
  await accept(t, largest, 'the largest')
  await refuseToken(t, api, sized(8200), 'longer')
  checkRefusal(t, await call('GET', '/accounts', { token: 'x'.repeat(20_000) }), [431, 'headers-too-large'])
})

t.test('after all this the server answers and no money has moved', async (t) => {
  t.equal((await call('GET', '/livez')).status, 200)
  t.strictSame(await balances(api), opening)
})
