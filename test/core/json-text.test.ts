import fc from 'fast-check'
import t from 'tap'
import { hasUniqueNames } from '#src/core/json-text.js'

t.test('RFC 7493 §2.3: whatever a text holds, its names are unique until one is repeated', async (t) => {
  const json = fc.jsonValue({ maxDepth: 4 })
  const unique = fc.property(json, fc.constantFrom(undefined, 2), (value, indentation) => {
    const text = JSON.stringify(value, null, indentation)
    return hasUniqueNames(text, JSON.parse(text))
  })
  const repeated = fc.property(fc.string(), json, json, json, (name, first, second, around) => {
    const member = (value: unknown) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`
    const text = `[${JSON.stringify(around)}, {${member(first)}, "between": ":", ${member(second)}}]`
    return !hasUniqueNames(text, JSON.parse(text))
  })
  t.doesNotThrow(() => fc.assert(unique))
  t.doesNotThrow(() => fc.assert(repeated))
})

t.test('equal names in different objects are no repetition, and depth is no limit', async (t) => {
  const deep = `${'{"a":['.repeat(8000)}${']}'.repeat(8000)}`
  for (const text of [
    '[{"a":1},{"a":2}]',
    '{"a":{"a":{"a":1}}}',
    '{"a":"\\"a\\":1,\\"a\\":"}',
    deep,
    '":"',
    '{}',
    '1',
  ]) {
    t.equal(hasUniqueNames(text, JSON.parse(text)), true, text.slice(0, 30))
  }
  t.equal(hasUniqueNames('{"a":1,"\\u0061":1}', { a: 1 }), false, 'escaped, it is the same name')
})
