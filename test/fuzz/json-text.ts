import fc from 'fast-check'
import { marker } from './watched-api.js'

/** One member of a JSON object, its value as JSON text: so that a name can stand twice, and a number can be what no parser writes. */
export type Member = readonly [name: string, json: string]

/** What happens to the members of an object. `add` puts one in front or behind, whether or not the name is there. */
export type MemberEdit =
  | { edit: 'set'; name: string; json: string }
  | { edit: 'remove'; name: string }
  | { edit: 'add'; name: string; json: string; inFront: boolean }

/** What happens to a byte; the place wraps around the length. */
export interface ByteEdit {
  edit: 'replace' | 'insert' | 'remove'
  at: number
  byte: number
}

const oddTexts = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '1',
    '-1',
    '1.0',
    '1.5',
    '1e3',
    '1e400',
    '-1e400',
    '1e-400',
    '9007199254740993',
  ],
  ...[
    '""',
    '" "',
    '"\\ud800"',
    '"\\ufffd"',
    '"\\u0000"',
    '"__proto__"',
    '[]',
    '{}',
    '[[]]',
    '[null]',
    '{"__proto__":{}}',
  ],
  ...['4102444800000', '"1"', '["x","x"]', '{"length":1}', '01', '+1', 'NaN', 'undefined', '', '"', '{', '/**/1'],
]

/** A text with the marker in it. */
export const markedText = fc
  .tuple(fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ maxLength: 12 }))
  .map(([before, after]) => `${before}${marker}${after}`)

/** JSON text, mostly; sometimes one that only looks like it. */
export const jsonText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...oddTexts) },
  { weight: 3, arbitrary: markedText.map((text) => JSON.stringify(text)) },
  { weight: 1, arbitrary: fc.array(markedText, { maxLength: 3 }).map((texts) => JSON.stringify(texts)) },
  {
    weight: 1,
    arbitrary: fc.dictionary(markedText, fc.jsonValue(), { maxKeys: 2 }).map((value) => JSON.stringify(value)),
  },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 2, stringUnit: 'binary' }).map((value) => JSON.stringify(value)) },
)

/** Edits of an object: for each of its usual names the values that mean something there, or nearly. */
export function memberEdits(values: Readonly<Record<string, readonly unknown[]>>): fc.Arbitrary<MemberEdit> {
  const names = Object.keys(values)
  const telling = fc.oneof(
    ...names.map((name) =>
      fc.record({ name: fc.constant(name), json: fc.constantFrom(...(values[name] ?? []).map(toJson)) }),
    ),
  )
  const odd = fc.record({
    name: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...names) },
      { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'toString', '') },
      { weight: 1, arbitrary: markedText },
    ),
    json: jsonText,
  })
  const member = fc.oneof({ weight: 3, arbitrary: telling }, { weight: 2, arbitrary: odd })
  return fc.oneof(
    { weight: 5, arbitrary: member.map((one) => ({ edit: 'set' as const, ...one })) },
    { weight: 1, arbitrary: fc.constantFrom(...names).map((name) => ({ edit: 'remove' as const, name })) },
    {
      weight: 1,
      arbitrary: fc.tuple(member, fc.boolean()).map(([one, inFront]) => ({ edit: 'add' as const, ...one, inFront })),
    },
  )
}

function toJson(value: unknown): string {
  return JSON.stringify(value)
}

export const byteEdit: fc.Arbitrary<ByteEdit> = fc.record({
  edit: fc.constantFrom('replace', 'insert', 'remove'),
  at: fc.nat(9999),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('"{}[],:.\\ 0A=-_\0'), 0x80, 0xc0, 0xed, 0xff)),
})

export function membersOf(object: object): Member[] {
  return Object.entries(object).map(([name, value]) => [name, JSON.stringify(value)])
}

export function editMembers(members: readonly Member[], edits: readonly MemberEdit[]): Member[] {
  let edited = [...members]
  for (const change of edits) {
    const { name } = change
    if (change.edit === 'remove') {
      edited = edited.filter(([other]) => other !== name)
      continue
    }
    const member: Member = [name, change.json]
    const found = change.edit === 'set' ? edited.findIndex(([other]) => other === name) : -1
    if (found >= 0) edited[found] = member
    else if (change.edit === 'add' && change.inFront) edited.unshift(member)
    else edited.push(member)
  }
  return edited
}

export function writeMembers(members: readonly Member[]): string {
  return `{${members.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`
}

export function editBytes(bytes: Buffer, edits: readonly ByteEdit[]): Buffer {
  return edits.reduce((before, { edit, at, byte }) => {
    const index = at % (before.length + 1)
    const after = before.subarray(edit === 'insert' ? index : index + 1)
    return Buffer.concat([before.subarray(0, index), ...(edit === 'remove' ? [] : [Buffer.of(byte)]), after])
  }, bytes)
}
