import fc from 'fast-check'
import t from 'tap'
import { isCanonicalCompactJwt, readJoseHeader } from '#src/core/compact-jwt.js'
import { readCredentials } from '#src/core/credentials.js'
import { readIdempotencyKey } from '#src/core/idempotency-key.js'
import { readScopes, type ScopeClaim } from '#src/core/scope.js'

t.test('credentials', async (t) => {
  const token = (text: string, scheme = 'Bearer') => ({ kind: 'token', scheme, token: text })
  const none = { kind: 'none' }
  const malformed = { kind: 'malformed', scheme: 'Bearer' }
  const malformedDpop = { kind: 'malformed', scheme: 'DPoP' }
  const one = (value: string) => ['Authorization', value]

  const cases: [string, string[], object][] = [
    ['no header at all', [], none],
    ['another scheme', one('Basic abc'), none],
    ['RFC 9449 §7.1: the DPoP scheme', one('DPoP abc'), token('abc', 'DPoP')],
    ['the DPoP scheme in any case', one('dpop  aZ09-._~+/=='), token('aZ09-._~+/==', 'DPoP')],
    ['a scheme that begins like DPoP', one('DPoPs abc'), none],
    ['DPoP alone', one('DPoP'), malformedDpop],
    ['DPoP and two tokens', one('DPoP abc def'), malformedDpop],
    [
      'RFC 9449 §7.2: both schemes, DPoP first',
      ['Authorization', 'DPoP a', 'Authorization', 'Bearer b'],
      malformedDpop,
    ],
    ['both schemes, Bearer first', ['Authorization', 'Bearer b', 'Authorization', 'DPoP a'], malformed],
    ['a bare token', one('abc.def.ghi'), none],
    ['an empty field', one(''), none],
    ['a scheme that begins like ours', one('BearerToken abc'), none],
    ['a scheme that goes on with a token character', one('Bearer-x abc'), none],
    ['a field of the same length', ['authorizatiom', 'Bearer abc'], none],
    ['the name as another field’s value', ['x-note', 'authorization', 'x-more', 'Bearer abc'], none],
    ['RFC 6750 §2.1: the form itself', one('Bearer abc'), token('abc')],
    ['RFC 9110 §11.1: the scheme in any case', one('bEARER abc'), token('abc')],
    ['more than one space', one('Bearer   abc'), token('abc')],
    ['every character of b64token', one('Bearer aZ09-._~+/=='), token('aZ09-._~+/==')],
    ['a field name in any case', ['AUTHORIZATION', 'Bearer abc'], token('abc')],
    ['other fields around it', ['host', 'a', 'authorization', 'Bearer abc', 'accept', '*/*'], token('abc')],
    ['the scheme alone', one('Bearer'), malformed],
    ['the scheme and a space', one('Bearer '), malformed],
    ['a tab between', one('Bearer\tabc'), malformed],
    ['a comma between', one('Bearer,abc'), malformed],
    ['a colon between', one('Bearer: abc'), malformed],
    ['two tokens', one('Bearer abc def'), malformed],
    ['a space at the end', one('Bearer abc '), malformed],
    ['a quoted token', one('Bearer "abc"'), malformed],
    ['padding alone', one('Bearer =='), malformed],
    ['padding inside', one('Bearer a=b'), malformed],
    ['a letter that only looks like one', one('Bearer аbc'), malformed],
    ['a line break', one('Bearer abc\ndef'), malformed],
    ['two fields', ['authorization', 'Bearer abc', 'authorization', 'Bearer abc'], malformed],
    ['two fields in different case', ['Authorization', 'Bearer abc', 'AUTHORIZATION', 'Basic abc'], malformed],
    ['a field of ours after one that is not', ['Authorization', 'Basic abc', 'Authorization', 'Bearer abc'], malformed],
  ]
  for (const [name, rawHeaders, expected] of cases) {
    t.strictSame(readCredentials(rawHeaders, { tokenInQuery: false, dpop: true }), expected, name)
  }

  const beside = { tokenInQuery: true, dpop: true }
  t.strictSame(readCredentials(one('Bearer abc'), beside), malformed, 'RFC 6750 §2: two methods at once')
  t.strictSame(readCredentials(one('DPoP abc'), beside), malformedDpop)
  t.strictSame(readCredentials([], beside), none, 'OAuth 2.1 §5.1: a token in the query alone is not read')
  t.strictSame(readCredentials(one('Basic abc'), beside), none, 'nor beside a scheme that is not ours')
  t.strictSame(readCredentials(one('DPoP abc'), { tokenInQuery: true, dpop: false }), none, 'DPoP, while it is off')
})

t.test('scopes', async (t) => {
  const all: ScopeClaim[] = ['scope', 'scp', 'permissions']
  const cases: [string, object, ScopeClaim[], string[] | undefined][] = [
    ['no claim', {}, all, []],
    ['one scope', { scope: 'a' }, ['scope'], ['a']],
    ['several', { scope: 'read:accounts transfer:funds' }, ['scope'], ['read:accounts', 'transfer:funds']],
    ['one twice', { scope: 'a a' }, ['scope'], ['a']],
    ['a claim that is not configured', { scp: 'a', permissions: ['b'] }, ['scope'], []],
    ['scp as a string', { scp: 'a b' }, ['scp'], ['a', 'b']],
    ['scp as an array', { scp: ['a', 'b'] }, ['scp'], ['a', 'b']],
    ['permissions as an array', { permissions: ['a'] }, ['permissions'], ['a']],
    ['the union', { scope: 'a', scp: ['b'], permissions: ['a', 'c'] }, all, ['a', 'b', 'c']],
    ['an empty array', { scp: [] }, all, []],
    ['look-alike characters stay what they are', { scp: 'transfer:funds2' }, all, ['transfer:funds2']],
    ['200 scopes', { scp: Array.from({ length: 200 }, (_, i) => `s${i}`) }, all, undefined],
    ['an empty string', { scope: '' }, all, undefined],
    ['a space before', { scope: ' a' }, all, undefined],
    ['a space after', { scope: 'a ' }, all, undefined],
    ['two spaces', { scope: 'a  b' }, all, undefined],
    ['a tab', { scope: 'a\tb' }, all, undefined],
    ['a quote', { scope: 'a"b' }, all, undefined],
    ['a backslash', { scope: 'a\\b' }, all, undefined],
    ['a letter outside ASCII', { scope: 'ä' }, all, undefined],
    ['scope as an array', { scope: ['transfer:funds'] }, all, undefined],
    ['permissions as a string', { permissions: 'transfer:funds' }, all, undefined],
    ['a scope with a space in an array', { scp: ['a b'] }, all, undefined],
    ['a number in an array', { scp: ['a', 1] }, all, undefined],
    ['an empty member', { scp: [''] }, all, undefined],
    ['null', { scope: null }, all, undefined],
    ['a number', { scp: 1 }, all, undefined],
    ['true', { permissions: true }, all, undefined],
    ['an object', { scp: { 0: 'a', length: 1 } }, all, undefined],
    ['201 scopes in a string', { scope: Array.from({ length: 201 }, (_, i) => `s${i}`).join(' ') }, all, undefined],
    ['201 scopes in an array', { scp: Array.from({ length: 201 }, (_, i) => `s${i}`) }, all, undefined],
    ['one good and one bad claim', { scope: 'transfer:funds', scp: 1 }, all, undefined],
  ]
  for (const [name, claims, scopeClaims, expected] of cases) {
    const scopes = readScopes(claims as Record<string, unknown>, scopeClaims)
    if (name === '200 scopes') t.equal(scopes?.size, 200, name)
    else t.strictSame(scopes && [...scopes], expected, name)
  }
  t.strictSame(
    [...(readScopes(Object.create({ scope: 'transfer:funds' }), all) as Set<string>)],
    [],
    'a claim of the prototype is no claim',
  )
})

t.test('compact JWS in canonical base64url', async (t) => {
  const encode = (text: string) => Buffer.from(text).toString('base64url')
  const good = [encode('{}'), encode('{"a":1}'), encode('signature')].join('.')
  const cases: [string, string, boolean][] = [
    ['three parts', good, true],
    ['8192 characters', `a${'A'.repeat(3)}.AAAA.${'A'.repeat(8182)}`, true],
    ['8196 characters', `AAAA.AAAA.${'A'.repeat(8186)}`, false],
    ['two parts', 'AAAA.AAAA', false],
    ['four parts', 'AAAA.AAAA.AAAA.AAAA', false],
    ['five parts, as an encrypted token has', 'AAAA.AAAA.AAAA.AAAA.AAAA', false],
    ['an unsigned token', 'AAAA.AAAA.', false],
    ['an empty header', '.AAAA.AAAA', false],
    ['padding', 'AA==.AAAA.AAAA', false],
    ['base64 instead of base64url', 'AA+/.AAAA.AAAA', false],
    ['a line break at the end', `${good}\n`, false],
    ['a length that no bytes have', 'AAAAA.AAAA.AAAA', false],
    ['two characters, no bits left over', 'AQ.AAAA.AAAA', true],
    ['two characters, bits left over', 'AB.AAAA.AAAA', false],
    ['three characters, no bits left over', 'AAAA.AAE.AAAA', true],
    ['three characters, bits left over', 'AAAA.AAB.AAAA', false],
    ['bits left over in the signature', 'AAAA.AAAA.AB', false],
    ['nothing', '', false],
  ]
  for (const [name, token, expected] of cases) t.equal(isCanonicalCompactJwt(token), expected, name)

  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const parts = fc.uint8Array({ minLength: 1, maxLength: 80 })
  const oneSpelling = fc.property(parts, parts, parts, fc.nat(2), (header, payload, signature, index) => {
    const spelling = [header, payload, signature].map((bytes) => Buffer.from(bytes).toString('base64url'))
    const part = spelling[index] as string
    const others = [...alphabet]
      .map((last) => `${part.slice(0, -1)}${last}`)
      .filter((other) => other !== part && Buffer.from(other, 'base64url').equals(Buffer.from(part, 'base64url')))
    const accepted = [part, ...others].filter((other) => isCanonicalCompactJwt(spelling.with(index, other).join('.')))
    return accepted.length === 1 && accepted[0] === part
  })
  t.doesNotThrow(() => fc.assert(oneSpelling), 'RFC 4648 §3.5: of all spellings of a token exactly one is canonical')
})

t.test('JOSE header', async (t) => {
  const algorithms = ['ES256', 'EdDSA']
  const header = { alg: 'ES256', typ: 'at+jwt', kid: 'k1' }
  const accepted: [string, object][] = [
    ['RFC 9068 §2.1: at+jwt', header],
    ['the full media type', { ...header, typ: 'application/at+jwt' }],
    ['typ in any case', { ...header, typ: 'AT+JWT' }],
    ['keys inside the header, which are never looked at', { ...header, jwk: {}, jku: 'https://x', x5u: 'y', x5c: [] }],
  ]
  for (const [name, value] of accepted) {
    t.strictSame(readJoseHeader(value, algorithms, 'rfc9068'), { alg: 'ES256', kid: 'k1' }, name)
  }
  t.equal(readJoseHeader({ ...header, kid: 'k'.repeat(256) }, algorithms, 'rfc9068')?.kid.length, 256)
  const refused: [string, unknown][] = [
    ['no object', 'ES256'],
    ['null', null],
    ['RFC 8725 §3.1: alg none', { ...header, alg: 'none' }],
    ['a symmetric alg', { ...header, alg: 'HS256' }],
    ['alg in another case', { ...header, alg: 'es256' }],
    ['an alg outside the list', { ...header, alg: 'RS256' }],
    ['alg as an array', { ...header, alg: ['ES256'] }],
    ['no alg', { ...header, alg: undefined }],
    ['RFC 9068 §4: an ID token’s typ', { ...header, typ: 'JWT' }],
    ['no typ', { ...header, typ: undefined }],
    ['a DPoP proof’s typ', { ...header, typ: 'dpop+jwt' }],
    ['a typ that only ends so', { ...header, typ: 'x/at+jwt' }],
    ['typ as an array', { ...header, typ: ['at+jwt'] }],
    ['no kid', { ...header, kid: undefined }],
    ['an empty kid', { ...header, kid: '' }],
    ['a kid of 257 characters', { ...header, kid: 'k'.repeat(257) }],
    ['kid as an array', { ...header, kid: ['k1'] }],
    ['kid as a number', { ...header, kid: 1 }],
    ['RFC 7515 §4.1.11: crit', { ...header, crit: ['exp'] }],
    ['crit null', { ...header, crit: null }],
  ]
  for (const [name, value] of refused) t.equal(readJoseHeader(value, algorithms, 'rfc9068'), undefined, name)
})

t.test('Idempotency-Key', async (t) => {
  const cases: [string, string | undefined][] = [
    ['abc', 'abc'],
    ['"abc"', 'abc'],
    ['!', '!'],
    ['~#+-.', '~#+-.'],
    ['x'.repeat(255), 'x'.repeat(255)],
    [`"${'x'.repeat(255)}"`, 'x'.repeat(255)],
    ['x'.repeat(256), undefined],
    [`"${'x'.repeat(256)}"`, undefined],
    ['', undefined],
    ['""', undefined],
    ['"', undefined],
    ['"abc', undefined],
    ['abc"', undefined],
    ['a"b', undefined],
    ['"a"b"', undefined],
    ['"a", "b"', undefined],
    ['a, b', undefined],
    ['a,b', undefined],
    ['a b', undefined],
    [' a', undefined],
    ['a\tb', undefined],
    ['a\n', undefined],
    ['a\u007f', undefined],
    ['ä', undefined],
  ]
  for (const [field, expected] of cases)
    t.equal(readIdempotencyKey(field), expected, JSON.stringify(field.slice(0, 20)))
})
