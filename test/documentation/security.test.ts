import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'

const policy = readFileSync('SECURITY.md', 'utf8')
const rows = policy.split('\n').filter((line) => line.startsWith('| ') && !/^\| (?:attack|---) \|/.test(line))

t.test('every attack in SECURITY.md names the tests that cover it, and each of them exists', async (t) => {
  t.ok(rows.length > 30)
  for (const row of rows) {
    const named = [...row.matchAll(/`(test\/[\w/.-]+)`: "((?:[^"\\]|\\.)+)"/g)]
    t.ok(named.length > 0, `no test: ${row.slice(0, 60)}`)
    t.equal(named.length, row.match(/`test\//g)?.length, `a test without title: ${row.slice(0, 60)}`)
    for (const [, path, text] of named) {
      const title = (text as string).replaceAll('\\"', '"')
      const source = existsSync(path as string) ? readFileSync(path as string, 'utf8') : ''
      t.ok(
        [`test('${title}',`, `test(\n  '${title}',`].some((call) => source.includes(call)),
        `${path}: ${title}`,
      )
    }
  }
})

t.test('SECURITY.md links only to what exists', async (t) => {
  const links = [...policy.matchAll(/\]\((?!http)([^)#]+)(?:#([^)]+))?\)/g)]
  t.ok(links.length > 3)
  for (const [link, path, anchor] of links) {
    t.ok(existsSync(path as string), link)
    const headings = readFileSync(path as string, 'utf8').matchAll(/^#+ (.+)$/gm)
    if (anchor !== undefined)
      t.ok(
        [...headings].some(([, text]) => text?.toLowerCase() === anchor),
        anchor,
      )
  }
})
