import { sign } from 'node:crypto'
import t from 'tap'
import { checkRefusal, refuseToken } from '../helpers/refusals.js'
import { balances, startTestApi } from '../helpers/test-api.js'
import { signCompact } from '../helpers/test-issuer.js'

const api = await startTestApi(t)
const { call, issuer, tokens } = api
const opening = await balances(api)
const { ES256, EdDSA } = issuer.keys
const header = { alg: 'ES256', typ: 'at+jwt', kid: ES256.kid }
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** Orders of the groups of P-256 and of Ed25519. */
const p256Order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
const ed25519Order = 2n ** 252n + 27742317777372353535851937790883648493n

/** Signs whatever text is given, canonical or not, as an issuer that writes odd base64url would. */
function signText(input: string): string {
  const signature = sign('sha256', Buffer.from(input), { key: ES256.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

function parts(token: string): [string, string, string] {
  return token.split('.') as [string, string, string]
}

/** A transfer token whose parts have bits to spare in their last characters. */
function tokenWithTails(): [string, string, string] {
  for (let pad = ''; ; pad += 'x') {
    const split = parts(tokens.sign(tokens.claims({ scope: 'read:accounts transfer:funds', pad }), { pad }))
    if (split.every((part) => part.length % 4 !== 0)) return split
  }
}

/** The same bits with one of those bits to spare set. */
function respell(part: string): string {
  const last = alphabet.indexOf(part.at(-1) as string)
  return `${part.slice(0, -1)}${alphabet[last + 1]}`
}

t.test('RFC 7515 §2: bits left over in the last character of a part are refused, whoever signed them', async (t) => {
  const genuine = tokenWithTails()
  t.equal((await call('GET', '/accounts', { token: genuine.join('.') })).status, 200, 'canonical')
  for (const [index, name] of ['header', 'payload', 'signature'].entries()) {
    const altered = genuine.map((part, at) => (at === index ? respell(part) : part)) as [string, string, string]
    t.same(Buffer.from(altered[index] as string, 'base64url'), Buffer.from(genuine[index] as string, 'base64url'))
    await refuseToken(t, api, altered.join('.'), `${name}, in transit`)
    if (index < 2) await refuseToken(t, api, signText(`${altered[0]}.${altered[1]}`), `${name}, by the issuer`)
  }
})

t.test('padding, the other alphabet and an impossible length are refused', async (t) => {
  const [head, payload, signature] = tokenWithTails()
  const odd: [string, string][] = [
    ['padding after the signature', `${head}.${payload}.${signature}==`],
    ['one = after the signature', `${head}.${payload}.${signature}=`],
    ['one character too many', `${head}.${payload}.${signature}AAA`],
    ['one character too few', `${head}.${payload}.${signature.slice(0, -1)}`],
    ['one A at the end of the payload', signText(`${head}.${payload}AAA`)],
  ]
  for (const [name, token] of odd) await refuseToken(t, api, token, name)
  let plus = ''
  while (!/[-_][^.]*$/.test(plus)) plus = tokens.transfer()
  const [plusHead, plusPayload, plusSignature] = parts(plus)
  const standard = plusSignature.replaceAll('-', '+').replaceAll('_', '/')
  await refuseToken(t, api, `${plusHead}.${plusPayload}.${standard}`, '+ and / in the signature')
})

t.test('RFC 6750 §2.1: characters that no b64token has make the request malformed', async (t) => {
  const token = tokens.transfer()
  const [head, payload, signature] = parts(token)
  const odd = [
    `${head}=.${payload}.${signature}`,
    `${head} .${payload}.${signature}`,
    `${token}\tx`,
    `${token},`,
    `"${token}"`,
  ]
  for (const text of odd) checkRefusal(t, await call('GET', '/accounts', { token: text }), [400, 'invalid-request'])
})

t.test('anything but three parts is refused', async (t) => {
  const [head, payload, signature] = parts(tokens.transfer())
  const shapes: [string, string][] = [
    ['one part', head],
    ['two parts', `${head}.${payload}`],
    ['four parts', `${head}.${payload}.${signature}.${signature}`],
    ['five parts, as a JWE has', `${head}.${payload}.${signature}.${payload}.${signature}`],
    ['an empty header', `.${payload}.${signature}`],
    ['an empty payload', `${head}..${signature}`],
    ['an empty signature', `${head}.${payload}.`],
    ['dots', '..'],
    ['more dots', '....'],
    ['a detached payload', signText(`${head}.`)],
    ['an opaque token', 'mF_9.B5f-4.1JqM'],
    ['a word', 'null'],
    ['only padding characters', 'A='],
  ]
  for (const [name, token] of shapes) await refuseToken(t, api, token, name)
})

t.test('a header or payload that is no JSON object is refused, signed or not', async (t) => {
  const texts = [
    '[]',
    '"text"',
    'null',
    '1',
    'true',
    '{',
    '{}',
    '{}x',
    '{} {}',
    "{'a':1}",
    '{"a":1,}',
    '\ufeff{}',
    '\u0000',
  ]
  const nested = `{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`
  const claims = JSON.stringify(tokens.claims({ scope: 'read:accounts transfer:funds' }))
  for (const text of [...texts, nested, `\ufeff${claims}`, `${claims},`, `[${claims}]`, JSON.stringify(claims)]) {
    await refuseToken(t, api, signCompact(header, text, ES256), `payload ${JSON.stringify(text.slice(0, 20))}`)
    await refuseToken(t, api, signCompact(text, claims, ES256), `header ${JSON.stringify(text.slice(0, 20))}`)
  }
})

t.test(
  'RFC 7519 §7.2: a header or payload that is not UTF-8 is refused, though nothing else is wrong with it',
  async (t) => {
    const withBytes = (object: object, ...bytes: number[]): string => {
      const [before, after] = JSON.stringify({ pad: '|', ...object }).split('|') as [string, string]
      return Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]).toString('base64url')
    }
    const claims = tokens.claims({ scope: 'read:accounts transfer:funds' })
    const genuine = signText(`${withBytes(header, 0xc3, 0xa9)}.${withBytes(claims, 0xf0, 0x9f, 0xa6, 0x8a)}`)
    t.equal((await call('GET', '/accounts', { token: genuine })).status, 200, 'UTF-8')
    for (const bytes of [[0xff], [0x80], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
      const label = Buffer.from(bytes).toString('hex')
      await refuseToken(t, api, signText(`${withBytes(header)}.${withBytes(claims, ...bytes)}`), `payload ${label}`)
      await refuseToken(t, api, signText(`${withBytes(header, ...bytes)}.${withBytes(claims)}`), `header ${label}`)
    }
  },
)

t.test('8725-3.3-1 (RFC 8725 §3.3): forged ECDSA signatures are refused', async (t) => {
  const [head, payload, signature] = parts(tokens.transfer())
  const bytes = Buffer.from(signature, 'base64url')
  const [r, s] = [bytes.subarray(0, 32), bytes.subarray(32)]
  const zero = Buffer.alloc(32)
  const order = Buffer.from(p256Order.toString(16), 'hex')
  const der = sign('sha256', Buffer.from(`${head}.${payload}`), { key: ES256.privateKey, dsaEncoding: 'der' })
  const forgeries: [string, Buffer][] = [
    ['DER', der],
    ['all zero', Buffer.alloc(64)],
    ['r zero', Buffer.concat([zero, s])],
    ['s zero', Buffer.concat([r, zero])],
    ['r and s the order', Buffer.concat([order, order])],
    ['r zero, s the order', Buffer.concat([zero, order])],
    ['all ones', Buffer.alloc(64, 0xff)],
    ['truncated', bytes.subarray(0, 63)],
    ['half', r],
    ['a byte more', Buffer.concat([bytes, Buffer.alloc(1)])],
    ['a zero byte before', Buffer.concat([Buffer.alloc(1), bytes])],
    ['twice', Buffer.concat([bytes, bytes])],
    ['r and s exchanged', Buffer.concat([s, r])],
    ['one bit flipped', Buffer.from(bytes.map((byte, index) => (index === 40 ? byte ^ 1 : byte)))],
    ['one byte', Buffer.alloc(1)],
  ]
  for (const [name, forged] of forgeries) {
    await refuseToken(t, api, `${head}.${payload}.${forged.toString('base64url')}`, name)
  }
})

t.test('RFC 8032 §5.1.7: an EdDSA signature with s beyond the order is refused', async (t) => {
  const token = tokens.sign(tokens.claims({ scope: 'read:accounts transfer:funds' }), {}, EdDSA)
  const [head, payload, signature] = parts(token)
  t.equal((await call('GET', '/accounts', { token })).status, 200, 'genuine')
  const bytes = Buffer.from(signature, 'base64url')
  const s = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString('hex')}`)
  const beyond = Buffer.from((s + ed25519Order).toString(16).padStart(64, '0'), 'hex').reverse()
  const forgeries = [Buffer.concat([bytes.subarray(0, 32), beyond]), Buffer.alloc(64), bytes.subarray(0, 63)]
  for (const forged of forgeries)
    await refuseToken(t, api, `${head}.${payload}.${forged.toString('base64url')}`, 'EdDSA')
})

t.test('6750-5.2-2 (RFC 6750 §5.2): a genuine signature covers header and payload alike', async (t) => {
  const [readHead, , readSignature] = parts(tokens.read())
  const [, payload] = parts(tokens.transfer())
  await refuseToken(t, api, `${readHead}.${payload}.${readSignature}`, "another token's payload")
  const [, ownPayload, ownSignature] = parts(tokens.transfer())
  const altered = Buffer.from(JSON.stringify({ ...header, extra: 1 })).toString('base64url')
  await refuseToken(t, api, `${altered}.${ownPayload}.${ownSignature}`, 'another header')
  for (const key of [issuer.keys.RS256, issuer.keys.PS256]) {
    const [head, rsaPayload] = parts(tokens.sign(tokens.claims(), {}, key))
    for (const forged of [Buffer.alloc(256), Buffer.alloc(256, 0xff), Buffer.alloc(257), Buffer.alloc(1)]) {
      await refuseToken(t, api, `${head}.${rsaPayload}.${forged.toString('base64url')}`, `${key.alg} forged`)
    }
  }
})

t.test('after all this the server answers and no money has moved', async (t) => {
  t.equal((await call('GET', '/livez')).status, 200)
  t.strictSame(await balances(api), opening)
})
