import { sign } from 'node:crypto'
import fc from 'fast-check'
import { malleate, type SigningKey, signatureOf } from '../helpers/test-issuer.js'
import {
  type ByteEdit,
  byteEdit,
  editBytes,
  editMembers,
  type MemberEdit,
  membersOf,
  writeMembers,
} from './json-text.js'

/** What happens to a compact JWS: while it is made, and on its way. */
export interface JwsDraft {
  header: MemberEdit[]
  claims: MemberEdit[]
  /** Applied to the UTF-8 of the JSON, before it is signed. */
  headerBytes: ByteEdit[]
  payloadBytes: ByteEdit[]
  transit: TransitEdit[]
}

type TransitEdit =
  | { edit: 'text'; at: number; replace: boolean; text: string }
  | { edit: 'bytes'; part: number; bytes: ByteEdit[] }
  | { edit: 'parts'; order: number[] }
  | { edit: 'signature'; form: 'der' | 'other (r, s)' | 'upper half' | 'twice' }

export const tokenCharacters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/~'

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

export function untouched(): JwsDraft {
  return { header: [], claims: [], headerBytes: [], payloadBytes: [], transit: [] }
}

/** One change, of the kinds that a draft has. */
export function jwsChange(
  headerEdits: fc.Arbitrary<MemberEdit>,
  claimEdits: fc.Arbitrary<MemberEdit>,
): fc.Arbitrary<Partial<JwsDraft>> {
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ header: fc.array(headerEdits, { minLength: 1, maxLength: 2 }) }) },
    { weight: 5, arbitrary: fc.record({ claims: fc.array(claimEdits, { minLength: 1, maxLength: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ headerBytes: fc.array(byteEdit, { minLength: 1, maxLength: 2 }) }) },
    { weight: 2, arbitrary: fc.record({ payloadBytes: fc.array(byteEdit, { minLength: 1, maxLength: 2 }) }) },
    { weight: 5, arbitrary: fc.record({ transit: fc.array(transitEdit, { minLength: 1, maxLength: 2 }) }) },
  )
}

interface JwsParts {
  header: object
  claims: object
  /** Whose signature it would be; other forms of it are made with this key. */
  key: SigningKey
  /** Whose it is. */
  signer: SigningKey
}

export function makeJws(draft: JwsDraft, { header, claims, key, signer }: JwsParts): string {
  const write = (object: object, edits: readonly MemberEdit[], bytes: readonly ByteEdit[]): string =>
    editBytes(Buffer.from(writeMembers(editMembers(membersOf(object), edits))), bytes).toString('base64url')
  const input = `${write(header, draft.header, draft.headerBytes)}.${write(claims, draft.claims, draft.payloadBytes)}`
  const text = `${input}.${signatureOf(input, signer).toString('base64url')}`
  return draft.transit.reduce((before, edit) => editInTransit(before, edit, key), text)
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
  // Parts may have been lost before.
  const isWhole = token.split('.').length === 3
  const withSignature = (bytes: Buffer): string => `${input}.${bytes.toString('base64url')}`
  switch (form) {
    case 'der':
      return key.alg === 'ES256' ? withSignature(sign('sha256', Buffer.from(input), key.privateKey)) : token
    case 'other (r, s)':
      return key.alg === 'ES256' && signature.length === 64 && isWhole ? malleate(token) : token
    case 'upper half':
      return withSignature(signature.subarray(signature.length / 2))
    case 'twice':
      return withSignature(Buffer.concat([signature, signature]))
  }
}
