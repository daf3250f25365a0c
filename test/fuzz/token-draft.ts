import fc from 'fast-check'
import type { TestApi } from '../helpers/test-api.js'
import { makeKey, type SigningKey } from '../helpers/test-issuer.js'
import { jsonText, memberEdits } from './json-text.js'
import { type JwsDraft, jwsChange, makeJws, tokenCharacters, untouched } from './jws-draft.js'

const algorithms = ['ES256', 'EdDSA', 'PS256', 'RS256'] as const
const stranger: Record<string, SigningKey> = {}

/** A valid token and what happens to it. */
export interface TokenDraft extends JwsDraft {
  algorithm: (typeof algorithms)[number]
  /** `stranger` has the right kid and algorithm but another key; `other` is the issuer's key for another algorithm. */
  signer: 'issuer' | 'stranger' | 'other'
}

/** Tokens with up to two changes; with none they are valid. */
export function tokenDrafts({ issuer, config, clock }: TestApi): fc.Arbitrary<TokenDraft> {
  const now = clock.nowSeconds
  const keys = Object.values(issuer.keys)
  const audience = config.AUDIENCE
  const types = ['at+jwt', 'application/at+jwt', 'AT+JWT', 'JWT', 'application/jwt', 'at+jwt ', ['at+jwt'], null]
  const headerEdits = memberEdits({
    alg: [...algorithms, 'none', 'HS256', 'ES384', 'Ed25519', 'es256', ['ES256'], null],
    typ: types,
    kid: [...keys.map(({ kid }) => kid), 'x', 'x'.repeat(257), '', [keys[0]?.kid], 0, null],
    crit: [[], ['b64'], ['exp'], null],
    b64: [true, false],
    jwk: keys.map(({ jwk }) => jwk),
    jku: [issuer.url],
    cty: ['JWT'],
    zip: ['DEF'],
  })
  // In the units of the claim; the leeway is 5 s.
  const around = [-400, -6, -5, -4, -1, 0, 0.5, 4, 5, 6, 300].map((seconds) => now + seconds)
  const times = [...around, now * 1000, String(now), 0, -1, 1.5, 2 ** 53, null]
  const texts = [
    '',
    ' ',
    'x',
    'x'.repeat(255),
    'x'.repeat(256),
    'x'.repeat(257),
    '\ud800',
    '\ufffd',
    'a\0',
    ['alice'],
    1,
    null,
  ]
  const claimEdits = memberEdits({
    iss: [[issuer.url], `${issuer.url}/`, issuer.url.toUpperCase(), null],
    aud: [
      [audience],
      [audience, 1],
      [audience, 'x'],
      [[audience]],
      [],
      `${audience}/`,
      'x',
      { 0: audience, length: 1 },
      null,
    ],
    sub: texts,
    client_id: texts,
    jti: texts,
    exp: times,
    iat: times,
    nbf: times,
    scope: [
      '',
      'x',
      ' read:accounts',
      'read:accounts  x',
      ['read:accounts'],
      'read:accounts\tx',
      'read:accounts é',
      null,
    ],
    cnf: [{}, null, { jkt: 'x' }, { jwk: keys[0]?.jwk }],
    authorization_details: [null, {}, [], [{}], [null], [{ type: 'x' }], [{ type: 1 }], 'x'],
    acr: ['x', ['x'], null],
    auth_time: times,
  })
  const signer = fc.record({ signer: fc.constantFrom('stranger' as const, 'other' as const) })
  const change = fc.oneof(
    { weight: 16, arbitrary: jwsChange(headerEdits, claimEdits) },
    { weight: 1, arbitrary: signer },
  )
  return fc
    .tuple(fc.constantFrom(...algorithms), fc.array(change, { maxLength: 2 }))
    .map(
      ([algorithm, changes]): TokenDraft =>
        Object.assign({ algorithm, signer: 'issuer' as const, ...untouched() }, ...changes),
    )
}

/** Makes the token; what it is like besides the draft is the caller's. */
export function makeToken(draft: TokenDraft, { issuer }: TestApi, claims: object): string {
  const key = issuer.keys[draft.algorithm]
  const header = { alg: key.alg, typ: 'at+jwt', kid: key.kid }
  return makeJws(draft, { header, claims, key, signer: signerOf(draft, issuer.keys) })
}

function signerOf({ algorithm, signer }: TokenDraft, keys: TestApi['issuer']['keys']): SigningKey {
  if (signer === 'issuer') return keys[algorithm]
  if (signer === 'stranger') {
    stranger[algorithm] ??= makeKey(algorithm)
    return stranger[algorithm]
  }
  return keys[algorithm === 'RS256' ? 'PS256' : 'RS256']
}

/** Anything at all where a token stands. */
export const noToken: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: fc.constantFrom(...tokenCharacters), maxLength: 40 }),
  fc
    .array(
      jsonText.map((text) => Buffer.from(text).toString('base64url')),
      { minLength: 1, maxLength: 5 },
    )
    .map((parts) => parts.join('.')),
)
