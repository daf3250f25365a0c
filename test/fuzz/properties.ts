import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { customFetch, protectedResourceRequest, WWWAuthenticateChallengeError } from 'oauth4webapi'
import { type Challenge, serializeChallenge } from '#src/core/challenge.js'
import { isCanonicalCompactJwt } from '#src/core/compact-jwt.js'
import { acrMfa, ibans, transferBody } from '../helpers/test-api.js'
import { judgeBy } from './jose-oracle.js'
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
import { makeToken, noToken, tokenDrafts } from './token-draft.js'
import { marker, secretsOf, type WatchedApi } from './watched-api.js'

/** How long to look for a counterexample. */
export interface FuzzLimits {
  seed: number
  numRuns: number
  /** Milliseconds after which no further run begins. */
  interruptAfterTimeLimit?: number
}

/** Something that must hold for whatever fast-check comes up with. */
export interface FuzzProperty {
  name: string
  /** Returns the number of runs. Throws when the property does not hold: the message has the seed and the counterexample. */
  check: (limits: FuzzLimits) => Promise<number>
}

/** Every property, over an API that is watched. */
export function fuzzProperties(watched: WatchedApi): FuzzProperty[] {
  return [
    named('a token is valid exactly if jose says so, but for what is listed', tokens(watched)),
    named('a transfer token with odd claims moves money once or not at all', transferTokens(watched)),
    named('RFC 6750 §2.1: one Authorization field with one valid token, or nobody is let in', credentials(watched)),
    named('a body is a transfer or is refused, and what is refused burns no token', bodies(watched)),
    named('an address and a method are served or refused', addresses(watched)),
    named('RFC 9110 §11.6.1: a challenge is read back as what was written', challenges()),
    named('RFC 4648 §3.5: a compact JWS has one spelling', spellings()),
  ]
}

function named<Ts>(name: string, property: fc.IAsyncProperty<Ts>): FuzzProperty {
  return {
    name,
    async check(limits) {
      const details = await fc.check(property, { ...limits, includeErrorInReport: true })
      // Without a counterexample it only ran out of time.
      if (details.counterexample !== null) throw new Error(await fc.asyncDefaultReportMessage(details))
      return details.numRuns
    },
  }
}

const bearer = (token: string): string => `Authorization: Bearer ${token}`
const jsonType = 'Content-Type: application/json'
const asBytes = (text: string): string => Buffer.from(text).toString('latin1')

function tokens(watched: WatchedApi) {
  const { api } = watched
  const judge = judgeBy(api)
  return fc.asyncProperty(tokenDrafts(api), async (draft) => {
    const token = makeToken(draft, api, api.tokens.claims())
    const { valid, reason } = await judge(token)
    const fields = token === '' ? ['Authorization: Bearer'] : [bearer(token)]
    // The second time the server may know the token.
    for (const time of ['first', 'second']) {
      const { status } = await watched.send({ method: 'GET', target: '/accounts', fields, secrets: secretsOf(token) })
      const accepted = status === 200 || status === 403
      if (accepted !== valid) throw new Error(`${time} answer ${status}, but jose: ${reason}\n${token}`)
    }
  })
}

function transferTokens(watched: WatchedApi) {
  const { api } = watched
  const judge = judgeBy(api)
  const strong = () => api.tokens.claims({ scope: 'read:accounts transfer:funds', acr: acrMfa })
  const body = JSON.stringify(transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } }))
  return fc.asyncProperty(tokenDrafts(api), async (draft) => {
    const token = makeToken(draft, api, strong())
    const { valid, reason } = await judge(token)
    const request = {
      method: 'POST',
      target: '/transfers',
      fields: [bearer(token), jsonType],
      body,
      secrets: secretsOf(token),
    }
    const first = await watched.send(request)
    if (first.status === 201 && !valid) throw new Error(`money moved, but jose: ${reason}\n${token}`)
    const again = await watched.send(request)
    if (again.status === 201) throw new Error(`one token moved money twice\n${token}`)
  })
}

function credentials(watched: WatchedApi) {
  const { api } = watched
  const token = api.tokens.read()
  const name = fc.constantFrom(
    'Authorization',
    'authorization',
    'AUTHORIZATION',
    'Proxy-Authorization',
    'Cookie',
    'DPoP',
  )
  const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) })
  const scheme = fc.oneof(
    fc.constantFrom('Bearer', 'bearer', 'BEARER', 'DPoP', 'Basic', 'Bearerx', 'access_token='),
    printable,
  )
  const space = fc.constantFrom('', ' ', '  ', '\t', ',', ', ', ':', '=', '\x0b')
  const text = fc.oneof(
    { weight: 4, arbitrary: fc.constant(token) },
    { weight: 2, arbitrary: noToken },
    { weight: 1, arbitrary: printable.map((odd) => `${marker}${odd}`) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('', '=', `${token}=`, `"${token}"`, `${token},`, `${token} x`, `${token}\x00`),
    },
  )
  const field = fc.tuple(name, fc.oneof(fc.constant('Bearer'), scheme), fc.oneof(fc.constant(' '), space), text)
  const query = fc.constantFrom('', '', '', '?access_token', `?access_token=${token}`, `?Access_Token=${marker}`, '?')
  return fc.asyncProperty(fc.array(field, { maxLength: 3 }), query, async (parts, search) => {
    const fields = parts.map(([fieldName, ...value]) => `${fieldName}: ${value.join('')}`)
    const own = fields.filter((line) => /^authorization:/i.test(line)).map(fieldValueOf)
    const value = own.length === 1 ? (own[0] as string) : ''
    const authenticated = value.endsWith(token) && /^bearer +$/i.test(value.slice(0, -token.length))
    const served = authenticated && (search === '' || search === '?') && !fields.some(hasControl)
    const target = `/accounts${search}`
    const { status } = await watched.send({ method: 'GET', target, fields, secrets: secretsOf(token) })
    if ((status === 200) !== served) throw new Error(`${status}`)
  })
}

/** The value of a field line, without the whitespace around it (RFC 9110 §5.5). */
function fieldValueOf(line: string): string {
  return line.slice(line.indexOf(':') + 1).replace(/^[ \t]+|[ \t]+$/g, '')
}

/** Whether Node's parser refuses the field, before anybody looks at credentials. */
function hasControl(line: string): boolean {
  return [...line].some((character) => (character < ' ' && character !== '\t') || character === '\x7f')
}

function bodies(watched: WatchedApi) {
  const { api } = watched
  const good = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })
  const accounts = Object.values(ibans).map((iban) => ({ iban }))
  const amounts = [
    '0.01',
    '1',
    '0',
    '0.001',
    '1e3',
    '-1',
    '01',
    '1.',
    '999999999999999.99',
    '1000000000000000',
    ' 1',
    '１',
    1,
  ]
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
  const type = odd([
    jsonType,
    ...[
      'text/plain',
      'application/json; charset=utf-8',
      'application/json;charset=utf-16',
      'application/problem+json',
      '',
    ].map((value) => `Content-Type: ${value}`),
    `Content-Type: ${marker}/json`,
    'X-None: 0',
  ])
  const key = odd([
    'X-None: 0',
    ...['', '"', '""', marker, `"${marker}`, `"${marker}"`, 'a,b', 'x'.repeat(256), 'é'].map(
      (value) => `Idempotency-Key: ${value}`,
    ),
  ])
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

function addresses(watched: WatchedApi) {
  const { api } = watched
  const token = api.tokens.read()
  const method = fc.constantFrom(
    'GET',
    'GET',
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'TRACE',
    'QUERY',
  )
  const known = ['accounts', 'transfers', 'transactions', 'problems', 'livez', 'readyz', '.well-known', 'openapi.json']
  const segment = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom(...known, 'oauth-protected-resource', randomUUID(), '..', '.', '', '*', '%', '%ff'),
    },
    { weight: 2, arbitrary: markedText.map((text) => encodeURIComponent(text)) },
    {
      weight: 1,
      arbitrary: fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
    },
  )
  const query = fc.oneof(
    fc.constant(''),
    fc
      .array(
        fc.tuple(
          fc.oneof(fc.constantFrom('limit', 'cursor', '__proto__'), markedText),
          fc.oneof(fc.constantFrom('1', '50', '101', '-1', '1e1', ''), markedText),
        ),
        {
          maxLength: 3,
        },
      )
      .map((pairs) => `?${pairs.map((pair) => pair.map((text) => encodeURIComponent(text)).join('=')).join('&')}`),
  )
  const path = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
  return fc.asyncProperty(method, path, query, fc.boolean(), async (verb, target, search, authenticated) => {
    const fields = authenticated ? [bearer(token)] : []
    await watched.send({ method: verb, target: `${target}${search}`, fields, secrets: secretsOf(token) })
  })
}

function challenges() {
  const text = fc.oneof(
    fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
    fc.constantFrom('', '"', '\\', '\\"', 'scope="x"', ', Bearer scope="x"', 'a, b=c', '=', ' '),
  )
  const maybe = fc.option(text, { nil: undefined })
  const challenge = fc.record({
    realm: text,
    error: fc.constantFrom('invalid_token', 'insufficient_scope', undefined),
    scope: maybe,
    acrValues: maybe,
    maxAgeSeconds: fc.option(fc.nat(), { nil: undefined }),
    resourceMetadata: fc.webUrl(),
    errorDescription: maybe,
  })
  return fc.asyncProperty(challenge, async (written) => {
    const expected = {
      realm: written.realm,
      error: written.error,
      scope: written.scope,
      acr_values: written.acrValues,
      max_age: written.maxAgeSeconds?.toString(),
      resource_metadata: written.resourceMetadata,
      error_description: written.errorDescription,
    }
    const read = await readByClient(serializeChallenge(written as Challenge))
    const present = Object.entries(expected).filter(([, value]) => value !== undefined)
    if (JSON.stringify(read) !== JSON.stringify([['bearer', present]])) throw new Error(JSON.stringify(read))
  })
}

/** What oauth4webapi reads in a challenge, in the order of the line. */
async function readByClient(line: string): Promise<unknown> {
  const answer = new Response(null, { status: 401, headers: { 'www-authenticate': line } })
  const error: unknown = await protectedResourceRequest('x', 'GET', new URL('https://api.example'), undefined, null, {
    [customFetch]: async () => answer,
  }).catch((reason: unknown) => reason)
  if (!(error instanceof WWWAuthenticateChallengeError)) throw new Error(`no challenge: ${line}`)
  return error.cause.map(({ scheme, parameters }) => [scheme, Object.entries(parameters)])
}

function spellings() {
  const part = fc.string({ unit: fc.constantFrom(...'ABQgw08EIMUYckos-_=+/. '), maxLength: 9 })
  return fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 4 }), async (parts) => {
    const text = parts.join('.')
    const split = text.split('.')
    const canonical = split.length === 3 && split.every(isCanonical)
    if (isCanonicalCompactJwt(text) !== canonical) throw new Error(JSON.stringify(text))
  })
}

function isCanonical(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}
