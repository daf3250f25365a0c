import t from 'tap'
import { httpLimits } from '#src/core/http-limits.js'
import { ProofMaker } from '../helpers/dpop.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { startTestApi, transferBody } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { clock, config, port, tokens } = api
const client = new ProofMaker(clock)
const bound = tokens.read(client.binding)
const bearer = `Authorization: Bearer ${tokens.read()}`
const transferring = `Authorization: Bearer ${tokens.transfer()}`
const json = 'Content-Type: application/json'

const get = (...fields: string[]) => rawRequest('GET', '/accounts', fields)
const present = (credentials: string) => get(`Authorization: ${credentials}`)
const presentClaim = (changes: Record<string, unknown>) => present(`Bearer ${tokens.transfer(changes)}`)
const prove = (proof: string) => get(`Authorization: DPoP ${bound}`, `DPoP: ${proof}`)
const proveAddress = (htu: string) => prove(client.prove({ method: 'GET', path: '/accounts', token: bound }, { htu }))
const good = JSON.stringify(transferBody())
const post = (text: string, type = json, ...fields: string[]) =>
  rawRequest('POST', '/transfers', [transferring, type, ...fields], text)
const postTransfer = (changes: Record<string, unknown>) => post(JSON.stringify(transferBody(changes)))
const withHost = (host: string) => get(bearer).replace('Host: api.example.com', `Host: ${host}`)

/** How much of a text is looked at, less what has to stand beside it. */
const longest = {
  fields: httpLimits.headerBytes - 1400,
  token: 8000,
  claim: 5000,
  body: httpLimits.bodyBytes - 400,
}

/** A text of n characters that is nearly what a pattern looks for, where it stands, and how it is answered. */
type Attack = [where: keyof typeof longest, status: number, name: string, request: (n: number) => string]

const attacks: Attack[] = [
  ['fields', 400, 'spaces, then no token', (n) => present(`Bearer ${' '.repeat(n)}!`)],
  ['fields', 400, 'a padding sign after each letter', (n) => present(`Bearer ${'a='.repeat(n / 2)}`)],
  ['fields', 400, 'padding alone', (n) => present(`Bearer ${'='.repeat(n)}`)],
  ['fields', 400, 'padding, then no token', (n) => present(`Bearer a${'='.repeat(n)}!`)],
  ['fields', 400, 'letters, then no token', (n) => present(`Bearer ${'a'.repeat(n)}!`)],
  ['fields', 401, 'parts without end', (n) => present(`Bearer ${'a.'.repeat(n / 2)}`)],
  ['fields', 401, 'the scheme without end', (n) => present('Bearer'.repeat(n / 6))],
  ['fields', 400, 'a Host of colons', (n) => withHost('a:'.repeat(n / 2))],
  ['fields', 400, 'a Host that begins as an address', (n) => withHost(`[${':'.repeat(n)}`)],
  ['fields', 400, 'an Idempotency-Key of quotes', (n) => post(good, json, `Idempotency-Key: ${'"'.repeat(n)}`)],
  ['fields', 400, 'an Idempotency-Key without end', (n) => post(good, json, `Idempotency-Key: "${'a'.repeat(n)}`)],
  ['fields', 400, 'a media type of parameters', (n) => post('{}', `${json}${'; a=b'.repeat(n / 5)}`)],
  ['fields', 415, 'a media type of spaces', (n) => post('{}', `Content-Type: application${' '.repeat(n)}/json`)],
  ['fields', 400, 'a query of parameters', (n) => rawRequest('GET', `/accounts?${'a&'.repeat(n / 2)}`, [bearer])],
  ['fields', 400, 'a query of escapes', (n) => rawRequest('GET', `/accounts?${'%41'.repeat(n / 3)}`, [bearer])],
  ['fields', 404, 'a path of slashes', (n) => rawRequest('GET', '/'.repeat(n))],
  ['fields', 404, 'a path of dots', (n) => rawRequest('GET', '/..'.repeat(n / 3))],
  ['fields', 404, 'a path of escapes', (n) => rawRequest('GET', `/nowhere/${'%41'.repeat(n / 3)}`)],
  ['fields', 404, 'a target in absolute form', (n) => rawRequest('GET', `http://${'a'.repeat(n)}`, [bearer])],
  ['fields', 200, 'an Origin of dots', (n) => get(bearer, `Origin: https://${'a.'.repeat(n / 2)}`)],
  ['token', 401, 'a token of dots', (n) => present(`Bearer ${'.'.repeat(n)}`)],
  ['token', 401, 'a token of two parts', (n) => present(`Bearer ${'A'.repeat(n / 2)}.${'A'.repeat(n / 2)}.`)],
  ['token', 401, 'a proof of two parts', (n) => prove(`${'A'.repeat(n / 2)}.${'A'.repeat(n / 2)}.`)],
  [
    'claim',
    401,
    'a scope that ends in a control character',
    (n) => presentClaim({ scope: `${'a '.repeat(n / 2)}\x7f` }),
  ],
  ['claim', 401, 'a scope of spaces', (n) => presentClaim({ scope: `a${' '.repeat(n)}a` })],
  ['claim', 401, 'a subject without end', (n) => presentClaim({ sub: 'a'.repeat(n) })],
  ['claim', 401, 'a digest without end', (n) => presentClaim({ cnf: { jkt: 'A'.repeat(n) } })],
  [
    'claim',
    401,
    'a typ without end',
    (n) => present(`Bearer ${tokens.sign(tokens.claims(), { typ: 'at+'.repeat(n / 3) })}`),
  ],
  ['claim', 401, 'an htu of percent signs', (n) => proveAddress(`${config.PUBLIC_URL}/${'%'.repeat(n)}`)],
  ['claim', 401, 'an htu of escapes', (n) => proveAddress(`${config.PUBLIC_URL}/${'%2e'.repeat(n / 3)}`)],
  ['claim', 401, 'an htu of dots', (n) => proveAddress(`${config.PUBLIC_URL}/${'../'.repeat(n / 3)}`)],
  ['claim', 401, 'an htu of a host alone', (n) => proveAddress(`https://${'a:'.repeat(n / 2)}\x7f`)],
  ['body', 400, 'a body of quotes', (n) => post(`"${'\\"'.repeat(n / 2)}"`)],
  ['body', 400, 'a body of backslashes', (n) => post(`{"a":"${'\\\\'.repeat(n / 2)}"}`)],
  ['body', 400, 'a body of strings', (n) => post(`[${'"",'.repeat(n / 3)}""]`)],
  ['body', 400, 'a body of members', (n) => post(`{${'"a":1,'.repeat(n / 6)}"a":1}`)],
  ['body', 400, 'a body of arrays', (n) => post(`${'['.repeat(n / 2)}${']'.repeat(n / 2)}`)],
  ['body', 400, 'a body of objects', (n) => post(`${'{"":'.repeat(n / 5)}1${'}'.repeat(n / 5)}`)],
  ['body', 400, 'a body of spaces', (n) => post(`${' '.repeat(n)}{}`)],
  [
    'body',
    400,
    'an amount of digits',
    (n) => postTransfer({ instructedAmount: { currency: 'EUR', amount: `1.${'0'.repeat(n)}x` } }),
  ],
  ['body', 400, 'an IBAN without end', (n) => postTransfer({ creditorAccount: { iban: 'DE89'.repeat(n / 4) } })],
  ['body', 400, 'a name without end', (n) => postTransfer({ creditorName: `${'a'.repeat(n)}\n` })],
]

/**
 * What costs every request the same outweighs work that grows with the text, unless that grows with its square or worse: then
 * ten times the text would take up to a hundred times as long, or for ever.
 */
const mostTimesLonger = 5
const leastRounds = 3
const mostRounds = 20

t.test('no text is slow to read: ten times as much takes less than five times as long', async (t) => {
  for (const [where, status, name, request] of attacks) {
    const measure = async (n: number): Promise<number> => {
      const bytes = request(n)
      const startMs = performance.now()
      const answer = await exchangeOne(port, bytes)
      const elapsedMs = performance.now() - startMs
      if (answer.status !== status) t.fail(`${name}: ${answer.status}`)
      return elapsedMs
    }
    const [short, long] = [longest[where] / 10, longest[where]]
    // The first answers are slow, as nothing is compiled yet.
    for (const n of [short, long]) await measure(n)
    const best = { shortMs: Infinity, longMs: Infinity }
    const isSlow = () => best.longMs >= mostTimesLonger * best.shortMs
    // Whatever else the machine does can make an answer late, never early.
    for (let round = 0; round < leastRounds || (isSlow() && round < mostRounds); round += 1) {
      best.shortMs = Math.min(best.shortMs, await measure(short))
      best.longMs = Math.min(best.longMs, await measure(long))
    }
    t.notOk(isSlow(), `${name}: ${JSON.stringify(best)}`)
  }
})
