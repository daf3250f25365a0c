import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { ibans, transferBody } from '../helpers/test-api.js'
import {
  byteEdit,
  editBytes,
  editMembers,
  jsonText,
  markedText,
  memberEdits,
  membersOf,
  writeMembers,
} from './json-text.js'
import { bearer, jsonType, marker, secretsOf, type WatchedApi } from './watched-api.js'

const asBytes = (text: string): string => Buffer.from(text).toString('latin1')

/** Bodies that are transfers, nearly, damaged, or something else, with types and keys that are odd now and then. */
export function bodies(watched: WatchedApi) {
  const { api } = watched
  const good = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
  const accounts = Object.values(ibans).map((iban) => ({ iban }))
  const wrongAmounts = ['0', '0.001', '1e3', '-1', '01', '1.', '1000000000000000', ' 1', '１']
  const amounts = ['0.01', '1', '999999999999999.99', ...wrongAmounts, 1]
  const texts = ['Bob', 'x'.repeat(140), 'x'.repeat(141), '', '\ud800', '\n', 1, null]
  const edits = memberEdits({
    debtorAccount: [...accounts, { iban: 'x' }, { iban: [] }, null],
    creditorAccount: [...accounts, { iban: ibans.bob.toLowerCase() }, {}],
    instructedAmount: ['EUR', 'JPY', 'BHD', 'ZZZ', 'eur', 978].flatMap((currency) =>
      amounts.map((amount) => ({ currency, amount })),
    ),
    // Remittance information stays out: the audit tells payments apart by it.
    creditorName: texts,
    unknown: [1],
  })
  const edited = fc
    .array(edits, { maxLength: 3 })
    .map((changes) => asBytes(writeMembers(editMembers(membersOf(good), changes))))
  const damaged = fc
    .tuple(edited, fc.array(byteEdit, { minLength: 1, maxLength: 3 }))
    .map(([text, edits]) => editBytes(Buffer.from(text, 'latin1'), edits).toString('latin1'))
  const raw = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
  const body = fc.oneof(
    { weight: 6, arbitrary: edited },
    { weight: 3, arbitrary: damaged },
    { weight: 1, arbitrary: jsonText.map(asBytes) },
    { weight: 1, arbitrary: raw },
    { weight: 1, arbitrary: fc.constant('['.repeat(17_000)) },
  )
  const odd = (values: string[]) =>
    fc.oneof({ weight: 8, arbitrary: fc.constant(values[0] as string) }, fc.constantFrom(...values))
  const types = ['text/plain', 'application/json; charset=utf-8', 'application/problem+json', '', `${marker}/json`]
  const type = odd([jsonType, 'X-None: 0', ...types.map((value) => `Content-Type: ${value}`)])
  const keys = ['', '"', '""', marker, `"${marker}`, `"${marker}"`, 'a,b', 'x'.repeat(256), 'é']
  const key = odd(['X-None: 0', ...keys.map((value) => `Idempotency-Key: ${value}`)])
  return fc.asyncProperty(body, type, key, async (text, typeField, keyField) => {
    const token = api.tokens.transfer()
    const fields = [bearer(token), typeField, keyField]
    const request = { method: 'POST', target: '/transfers', secrets: secretsOf(token) }
    const { status } = await watched.send({ ...request, fields, body: text })
    if (![400, 413, 415].includes(status)) return
    const afterwards = await watched.send({ ...request, fields: [bearer(token), jsonType], body: JSON.stringify(good) })
    if (![201, 422].includes(afterwards.status)) throw new Error(`${status} burnt the token: ${afterwards.text}`)
  })
}

/** Addresses that exist, that nearly do, and that do not, under every method. */
export function addresses(watched: WatchedApi) {
  const { api } = watched
  const token = api.tokens.read()
  const methods = 'GET GET GET HEAD POST PUT PATCH DELETE OPTIONS TRACE QUERY'.split(' ')
  const known =
    'accounts transfers transactions problems livez readyz .well-known oauth-protected-resource openapi.json'
  const telling = [...known.split(' '), randomUUID(), '..', '.', '', '*', '%', '%ff']
  const encodedText = markedText.map((text) => encodeURIComponent(text))
  const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
  const segment = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...telling) },
    { weight: 2, arbitrary: encodedText },
    { weight: 1, arbitrary: fc.string({ unit: visible }) },
  )
  const name = fc.oneof(fc.constantFrom('limit', 'cursor', '__proto__'), encodedText)
  const value = fc.oneof(fc.constantFrom('1', '50', '101', '-1', '1e1', ''), encodedText)
  const pair = fc.tuple(name, value).map((both) => both.join('='))
  const query = fc.array(pair, { maxLength: 3 }).map((pairs) => (pairs.length === 0 ? '' : `?${pairs.join('&')}`))
  const path = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
  return fc.asyncProperty(
    fc.constantFrom(...methods),
    path,
    query,
    fc.boolean(),
    async (method, target, search, signedIn) => {
      const fields = signedIn ? [bearer(token)] : []
      await watched.send({ method, target: `${target}${search}`, fields, secrets: secretsOf(token) })
    },
  )
}
