import fc from 'fast-check'
import { acrMfa, transferBody } from '../helpers/test-api.js'
import { judgeBy } from './jose-oracle.js'
import { makeToken, noToken, tokenDrafts } from './token-draft.js'
import { bearer, jsonType, marker, secretsOf, type WatchedApi } from './watched-api.js'

/** Tokens in all states, on a read; each twice, since the server may know it the second time. */
export function tokens(watched: WatchedApi) {
  const { api } = watched
  const judge = judgeBy(api)
  return fc.asyncProperty(tokenDrafts(api), async (draft) => {
    const token = makeToken(draft, api, api.tokens.claims())
    const { valid, reason } = await judge(token)
    const fields = [bearer(token)]
    for (const time of ['first', 'second']) {
      const { status } = await watched.send({ method: 'GET', target: '/accounts', fields, secrets: secretsOf(token) })
      const accepted = status === 200 || status === 403
      if (accepted !== valid) throw new Error(`${time} answer ${status}, but jose: ${reason}\n${token}`)
    }
  })
}

/** The same where money moves. */
export function transferTokens(watched: WatchedApi) {
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
    const refused = first.status === 401 || first.status === 400
    if (!valid && !refused) throw new Error(`answer ${first.status}, but jose: ${reason}\n${token}`)
    const again = await watched.send(request)
    if (again.status === 201) throw new Error(`one token moved money twice\n${token}`)
  })
}

/** Fields that carry a token, nearly carry one, or carry it in the wrong place. */
export function credentials(watched: WatchedApi) {
  const { api } = watched
  const token = api.tokens.read()
  const names = 'Authorization authorization AUTHORIZATION Proxy-Authorization Cookie DPoP'.split(' ')
  const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) })
  const schemes = ['Bearer', 'bearer', 'BEARER', 'DPoP', 'Basic', 'Bearerx', 'access_token=']
  const scheme = fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...schemes) }, printable)
  const space = fc.constantFrom('', ' ', '  ', '\t', ',', ', ', ':', '=', '\x0b')
  const nearly = ['', '=', `${token}=`, `"${token}"`, `${token},`, `${token} x`, `${token}\x00`]
  const text = fc.oneof(
    { weight: 4, arbitrary: fc.constant(token) },
    { weight: 2, arbitrary: noToken },
    { weight: 1, arbitrary: printable.map((odd) => `${marker}${odd}`) },
    { weight: 1, arbitrary: fc.constantFrom(...nearly) },
  )
  const field = fc.tuple(
    fc.constantFrom(...names),
    fc.oneof(fc.constant('Bearer'), scheme),
    fc.oneof(fc.constant(' '), space),
    text,
  )
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
