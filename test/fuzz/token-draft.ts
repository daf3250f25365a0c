import { sign } from 'node:crypto'
import fc from 'fast-check'
import type { TestApi } from '../helpers/test-api.js'
import { makeKey, malleate, type SigningKey, signatureOf } from '../helpers/test-issuer.js'
import {
  type ByteEdit,
  byteEdit,
  editBytes,
  editMembers,
  jsonText,
  type MemberEdit,
  memberEdits,
  membersOf,
  writeMembers,
} from './json-text.js'

const algorithms = ['ES256', 'EdDSA', 'PS256', 'RS256'] as const
const stranger: Record<string, SigningKey> = {}

/** A valid token and what happens to it: while it is made, and on its way. */
export interface TokenDraft {
  algorithm: (typeof algorithms)[number]
  header: MemberEdit[]
  claims: MemberEdit[]
  /** Applied to the UTF-8 of the JSON, before it is signed. */
  headerBytes: ByteEdit[]
  payloadBytes: ByteEdit[]
  /** `stranger` has the right kid and algorithm but another key; `other` is the issuer's key for another algorithm. */
  signer: 'issuer' | 'stranger' | 'other'
  transit: TransitEdit[]
}

type TransitEdit =
  | { edit: 'text'; at: number; replace: boolean; text: string }
  | { edit: 'bytes'; part: number; bytes: ByteEdit[] }
  | { edit: 'parts'; order: number[] }
  | { edit: 'signature'; form: 'der' | 'other (r, s)' | 'upper half' | 'twice' }

const untouched = { header: [], claims: [], headerBytes: [], payloadBytes: [], signer: 'issuer', transit: [] } as const
const tokenCharacters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/~'

const transitEdit: fc.Arbitrary<TransitEdit> = fc.oneof(
  fc.record({
    edit: fc.constant('text' as const),
    at: fc.nat(9999),
    replace: fc.boolean(),
    text: fc.string({ unit: fc.constantFrom(...tokenCharacters), maxLength: 4 }),
  }),
  fc.record({
    edit: fc.constant('bytes' as const),
    part: fc.nat(2),
    bytes: fc.array(byteEdit, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ edit: fc.constant('parts' as const), order: fc.array(fc.nat(2), { maxLength: 5 }) }),
  fc.record({
    edit: fc.constant('signature' as const),
    form: fc.constantFrom('der', 'other (r, s)', 'upper half', 'twice'),
  }),
)

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
  const change: fc.Arbitrary<Partial<TokenDraft>> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ header: fc.array(headerEdits, { minLength: 1, maxLength: 2 }) }) },
    { weight: 5, arbitrary: fc.record({ claims: fc.array(claimEdits, { minLength: 1, maxLength: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ headerBytes: fc.array(byteEdit, { minLength: 1, maxLength: 2 }) }) },
    { weight: 2, arbitrary: fc.record({ payloadBytes: fc.array(byteEdit, { minLength: 1, maxLength: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ signer: fc.constantFrom('stranger' as const, 'other' as const) }) },
    { weight: 5, arbitrary: fc.record({ transit: fc.array(transitEdit, { minLength: 1, maxLength: 2 }) }) },
  )
  return fc
    .tuple(fc.constantFrom(...algorithms), fc.array(change, { maxLength: 2 }))
    .map(([algorithm, changes]): TokenDraft => Object.assign({ algorithm, ...structuredClone(untouched) }, ...changes))
}

/** Makes the token; what it is like besides the draft is the caller's. */
export function makeToken(draft: TokenDraft, { issuer }: TestApi, claims: object): string {
  const key = issuer.keys[draft.algorithm]
  const header = { alg: key.alg, typ: 'at+jwt', kid: key.kid }
  const write = (object: object, edits: readonly MemberEdit[], bytes: readonly ByteEdit[]): string =>
    editBytes(Buffer.from(writeMembers(editMembers(membersOf(object), edits))), bytes).toString('base64url')
  const input = `${write(header, draft.header, draft.headerBytes)}.${write(claims, draft.claims, draft.payloadBytes)}`
  const token = `${input}.${signatureOf(input, signerOf(draft, issuer.keys)).toString('base64url')}`
  return draft.transit.reduce((before, edit) => editInTransit(before, edit, key), token)
}

function signerOf({ algorithm, signer }: TokenDraft, keys: TestApi['issuer']['keys']): SigningKey {
  if (signer === 'issuer') return keys[algorithm]
  if (signer === 'stranger') {
    stranger[algorithm] ??= makeKey(algorithm)
    return stranger[algorithm]
  }
  return keys[algorithm === 'RS256' ? 'PS256' : 'RS256']
}

function editInTransit(token: string, change: TransitEdit, key: SigningKey): string {
  const parts = token.split('.')
  switch (change.edit) {
    case 'text': {
      const at = change.at % (token.length + 1)
      return `${token.slice(0, at)}${change.text}${token.slice(change.replace ? at + change.text.length : at)}`
    }
    case 'bytes': {
      const changed = editBytes(Buffer.from(parts[change.part] ?? '', 'base64url'), change.bytes).toString('base64url')
      return parts.map((part, index) => (index === change.part ? changed : part)).join('.')
    }
    case 'parts':
      return change.order.map((index) => parts[index] ?? '').join('.')
    case 'signature':
      return respell(token, change.form, key)
  }
}

function respell(token: string, form: (TransitEdit & { edit: 'signature' })['form'], key: SigningKey): string {
  const end = token.lastIndexOf('.')
  const input = token.slice(0, end)
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  const withSignature = (bytes: Buffer): string => `${input}.${bytes.toString('base64url')}`
  switch (form) {
    case 'der':
      return key.alg === 'ES256' ? withSignature(sign('sha256', Buffer.from(input), key.privateKey)) : token
    case 'other (r, s)':
      return key.alg === 'ES256' && signature.length === 64 ? malleate(token) : token
    case 'upper half':
      return withSignature(signature.subarray(signature.length / 2))
    case 'twice':
      return withSignature(Buffer.concat([signature, signature]))
  }
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
