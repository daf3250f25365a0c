import { randomUUID } from 'node:crypto'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal, type Expected } from '../helpers/refusals.js'
import { balances, ibans, startTestApi, transferBody } from '../helpers/test-api.js'

const api = await startTestApi(t)
const { call, port, tokens } = api
const opening = await balances(api)
/** Presented with every bad body; it must work at the end. */
const unused = tokens.transfer()
const bearer = `Authorization: Bearer ${unused}`
const jsonType = 'Content-Type: application/json'
const good = JSON.stringify(transferBody())
const invalid: Expected = [400, 'invalid-input']

function post(text: string, fields: readonly string[] = [bearer, jsonType]) {
  return exchangeOne(port, rawRequest('POST', '/transfers', fields, text))
}

/** The good body with one more member, as raw text. */
function withMember(member: string): string {
  return good.replace(/}$/, `,${member}}`)
}

t.test('a body that is no JSON text is 400', async (t) => {
  const texts = ['{', '}', '{"a"}', `${good}x`, `${good}${good}`, `x${good}`, "{'a':1}", '{"a":1,}', '// x\n{}', 'NaN']
  const more = [
    'undefined',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":+1}',
    '{"a":01}',
    '{"a":0x1}',
    '"\\x41"',
    '\x00',
    '\xff\xfe{\x00',
  ]
  for (const text of [...texts, ...more, '{"a":"\u0001"}', '['.repeat(16_000), '{"a":'.repeat(3000)]) {
    checkRefusal(t, await post(text), invalid, JSON.stringify(text.slice(0, 20)))
  }
  checkRefusal(t, await post(''), invalid, 'empty')
  checkRefusal(t, await post('', [bearer]), invalid, 'no body and no type')
})

t.test('a JSON text that is no transfer is 400', async (t) => {
  const deep = `${'['.repeat(8000)}${']'.repeat(8000)}`
  for (const text of [
    'null',
    'true',
    '0',
    '""',
    '[]',
    '{}',
    `[${good}]`,
    JSON.stringify(good),
    deep,
    `{"a":${deep.slice(200, -200)}}`,
  ]) {
    checkRefusal(t, await post(text), invalid, text.slice(0, 20))
  }
})

t.test('prototype names in a body are refused like every unknown member, and not echoed', async (t) => {
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__']
  const values = ['1', 'null', '{}', '{"prototype":{"polluted":true}}', '{"polluted":true}', good]
  for (const name of names) {
    for (const value of values) {
      const answer = await post(withMember(`"${name}":${value}`))
      checkRefusal(t, answer, invalid, `${name}: ${value.slice(0, 30)}`)
      t.notMatch(JSON.stringify(answer.body), new RegExp(`${name}|polluted`))
    }
    const inner = good.replace('"iban":', `"${name}":{"polluted":true},"iban":`)
    checkRefusal(t, await post(inner), invalid, `${name} inside`)
  }
  const escaped = withMember('"\\u005f\\u005fproto\\u005f\\u005f":{"polluted":true}')
  checkRefusal(t, await post(escaped), invalid, 'escaped')
  const insteadOfMembers = `{"__proto__":${good}}`
  checkRefusal(t, await post(insteadOfMembers), invalid, 'members by inheritance')
  t.equal(({} as { polluted?: boolean }).polluted, undefined, 'no prototype was touched')
})

t.test('amounts that only look like decimal strings are refused', async (t) => {
  const amount = (value: string) => good.replace('"25.00"', value)
  const values = [
    '1e400',
    '-1e400',
    '25',
    '25.0',
    '1e1',
    '0.1',
    'true',
    'null',
    '[]',
    '["25.00"]',
    '{"toString":"25.00"}',
  ]
  const texts = ['"25.00\\u0000"', '"\\u0032\\u0035,00"', '"25.00\\n"', '"1e2"', '"0x19"', '"NaN"', '"1_000"', '"--1"']
  for (const value of [...values, ...texts, `"${'9'.repeat(15_000)}"`, `"0.${'0'.repeat(15_000)}1"`]) {
    const answer = await post(amount(value))
    checkRefusal(t, answer, invalid, value.slice(0, 24))
    t.match(answer.body, { errors: [{ pointer: /^\/instructedAmount/ }] })
  }
})

t.test('the media type is application/json and nothing else; parameters do not matter', async (t) => {
  const types = [
    'text/plain',
    'text/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/xml',
  ]
  const near = [
    'application/jsonp',
    'application/problem+json',
    'application/json-seq',
    'application/json/x',
    'json',
    '*/*',
  ]
  for (const type of [
    ...types,
    ...near,
    ';;;',
    '',
    '__proto__',
    'constructor',
    'application/json, text/plain',
    '\xff',
  ]) {
    checkRefusal(
      t,
      await post(good, [bearer, `Content-Type: ${type}`]),
      [415, 'unsupported-media-type'],
      JSON.stringify(type),
    )
  }
  checkRefusal(t, await post(good, [bearer]), [415, 'unsupported-media-type'], 'no type')
  const fine = [
    'application/json',
    'APPLICATION/JSON',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
  ]
  for (const type of [...fine, 'application/json; charset=latin1']) {
    checkRefusal(t, await post('{}', [bearer, `Content-Type: ${type}`]), invalid, type)
  }
})

t.test('a body has at most 16 KiB, however it is sent', async (t) => {
  const sized = (length: number) => `{}${' '.repeat(length - 2)}`
  const chunked = (text: string) => {
    const head = rawRequest('POST', '/transfers', [bearer, jsonType, 'Transfer-Encoding: chunked'])
    return `${head}${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
  }
  const tooLarge: Expected = [413, 'payload-too-large']
  checkRefusal(t, await post(sized(16_384)), invalid, 'the most')
  checkRefusal(t, await post(sized(16_385)), tooLarge, 'one byte more')
  checkRefusal(t, await exchangeOne(port, chunked(sized(16_384))), invalid, 'the most, in chunks')
  checkRefusal(t, await exchangeOne(port, chunked(sized(16_385))), tooLarge, 'one byte more, in chunks')
  const announced = rawRequest('POST', '/transfers', [bearer, jsonType, 'Content-Length: 1000000000'])
  checkRefusal(t, await exchangeOne(port, announced), tooLarge, 'only announced')
})

t.test('queries that the route does not have are 400', async (t) => {
  const queries = [
    'x=1',
    'x',
    '=',
    '__proto__=1',
    '__proto__[x]=1',
    'constructor=1',
    'iban=%ff',
    '%00=1',
    'token=x',
    'a=1&a=2',
  ]
  for (const query of queries) {
    for (const path of ['/accounts', '/accounts/x', '/transfers/x']) {
      const answer = await call('GET', `${path}?${query}`, { token: unused })
      checkRefusal(t, answer, invalid, `${path}?${query}`)
      t.match(answer.body, { errors: [{ pointer: '?' }] })
    }
    checkRefusal(t, await call('POST', `/transfers?${query}`, { token: unused, json: transferBody() }), invalid, query)
  }
})

t.test('two Idempotency-Key fields are 400', async (t) => {
  for (const names of [
    ['Idempotency-Key', 'Idempotency-Key'],
    ['Idempotency-Key', 'idempotency-key'],
  ]) {
    for (const values of [
      ['a', 'a'],
      ['a', 'b'],
      ['"a"', '"b"'],
      ['a', ''],
    ]) {
      const fields = names.map((name, index) => `${name}: ${values[index]}`)
      const answer = await post(good, [bearer, jsonType, ...fields])
      checkRefusal(t, answer, [400, 'invalid-idempotency-key'], fields.join(', '))
    }
  }
})

t.test('RFC 7493 §2.3: a member name that stands twice is refused, whichever of the two is good', async (t) => {
  const twice = [
    good.replace('"amount":', '"amount":"1.00","amount":'),
    good.replace('"amount":', '"amount":"25.00","amount":'),
    good.replace('"amount":', '"am\\u006funt":"1.00","amount":'),
    good.replace('"creditorAccount":', `"creditorAccount":{"iban":"${ibans.aliceSavings}"},"creditorAccount":`),
    withMember(`"instructedAmount":{"currency":"EUR","amount":"25.00"}`),
    withMember(`"creditorName":"a","creditorName":"a"`),
  ]
  for (const text of twice) {
    const answer = await post(text)
    checkRefusal(t, answer, invalid, text)
    t.match(answer.body, { errors: [{ pointer: '', expected: /no member name stands twice/ }] })
  }
})

t.test('RFC 8259 §8.1: a body that is not UTF-8 is refused rather than repaired', async (t) => {
  for (const bytes of ['\xff', '\xc0\xaf', '\xed\xa0\x80', '\xf4\x90\x80\x80', '\xc3']) {
    checkRefusal(t, await post(withMember(`"creditorName":"${bytes}"`)), invalid, JSON.stringify(bytes))
  }
})

t.test('RFC 9110 §15.5.16: no content coding is undone, so a small body never becomes a large one', async (t) => {
  const bomb = gzipSync(`${good}${' '.repeat(10_000_000)}`).toString('latin1')
  const bodies: [string, string][] = [
    ['gzip', bomb],
    ['gzip', gzipSync(good).toString('latin1')],
    ['deflate', deflateSync(good).toString('latin1')],
    ['br', brotliCompressSync(good).toString('latin1')],
    ['gzip', good],
    ['x', good],
    ['identity, gzip', good],
    ['', good],
  ]
  for (const [coding, text] of bodies) {
    const answer = await post(text, [bearer, jsonType, `Content-Encoding: ${coding}`])
    checkRefusal(t, answer, [415, 'unsupported-media-type'], coding)
  }
  checkRefusal(t, await post('{}', [bearer, jsonType, 'Content-Encoding: Identity']), invalid, 'none')
  checkRefusal(t, await post(bomb), invalid, 'not announced')
})

t.test('text that looks like code is stored and returned as text', async (t) => {
  const texts = [
    "'; drop table accounts; --",
    '<script>alert(1)</script>',
    '{{7*7}}',
    '%00%0a',
    '__proto__',
    '\u202egnp.exe',
    'a: b, "c": {"d": [1, "e\\\\"]}: \\" :',
  ]
  for (const remittanceInformationUnstructured of texts) {
    const json = transferBody({ remittanceInformationUnstructured, creditorName: randomUUID() })
    const answer = await call('POST', '/transfers', { token: tokens.transfer(), json })
    t.match(answer.body, { remittanceInformationUnstructured })
  }
})

t.test('after all this the token still works: no refusal burnt it', async (t) => {
  t.equal((await call('POST', '/transfers', { token: unused, json: transferBody() })).status, 201)
  t.equal((await call('GET', '/livez')).status, 200)
  const closing = await balances(api)
  t.equal(
    (opening[ibans.alice] as bigint) - (closing[ibans.alice] as bigint),
    8n * 2500n,
    'eight transfers and no more',
  )
})
