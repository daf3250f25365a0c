import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as stepgate from 'stepgate'
import t from 'tap'

const entry = import.meta.resolve('stepgate')
const root = fileURLToPath(new URL('..', entry))

t.test('the package exports what other teams import', async (t) => {
  t.strictSame(Object.keys(stepgate).toSorted(), [
    'JwksKeySource',
    'KeysUnavailable',
    'LedgerUnavailable',
    'LruReplayStore',
    'MultiFactorRequired',
    'OutcomeUnknown',
    'PostgresLedger',
    'ProofReplayStore',
    'RedisReplayStore',
    'Refusal',
    'ReplayRings',
    'SqliteLedger',
    'UnusableDatabase',
    'accessPolicy',
    'accessToken',
    'buildApp',
    'idempotency',
    'isIdTokenSufficient',
    'metadataRoutes',
    'notFound',
    'problem',
    'problemDocumentSchema',
    'problemRoutes',
    'problems',
    'readConfig',
    'replayKey',
    'requireMultiFactor',
    'serializeChallenge',
    'singleUse',
    'systemClock',
    'toReturnPath',
    'zodSchemaController',
  ])
  t.equal(relative(root, fileURLToPath(entry)), join('dist', 'index.js'), 'from the files it ships')
  await t.rejects(import(['stepgate', 'dist', 'server.js'].join('/')), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' })
})

t.test('systemClock is the machine’s wall clock', async (t) => {
  const before = Date.now()
  const nowMs = stepgate.systemClock.nowMs()
  t.ok(nowMs >= before && nowMs <= Date.now())
})

/** Which rooms and packages each room of src may import (architecture, "Rooms"). The entry and app.ts may import everything. */
const allowed: Record<string, RegExp> = {
  'config.ts': /^(?:core|zod|node:.*)$/,
  core: /^(?:core|zod|fast-jwt|ibantools|node:crypto)$/,
  keys: /^(?:keys|core|get-jwks|fast-jwt|lru-cache|node:crypto)$/,
  replay: /^(?:replay|core|lru-cache|ioredis|node:crypto)$/,
  ledger: /^(?:ledger|core|libsql|pg|node:.*)$/,
  plugins: /^(?:plugins|core|keys|replay|ledger|[^.]*)$/,
  routes: /^(?:routes|plugins|ledger|core|fastify.*|zod|yaml|node:.*)$/,
}

t.test('imports point down only', async (t) => {
  const source = join(root, 'src')
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  const graph = new Map<string, string[]>()
  const crossings: string[] = []
  for (const file of files) {
    const text = readFileSync(join(source, file), 'utf8')
    const specifiers = [...text.matchAll(/(?:from|import) '([^']+)'|import\('([^']+)'\)/g)].map(
      ([, one, two]) => (one ?? two) as string,
    )
    const local = specifiers.filter((name) => name.startsWith('.'))
    const targets = local.map((name) => relative(source, join(source, dirname(file), name)).replace(/\.js$/, '.ts'))
    graph.set(file, targets)
    const rule = allowed[file.split('/')[0] as string]
    const imported = [
      ...targets.map((target) => target.split('/')[0] as string),
      ...specifiers.filter((name) => !name.startsWith('.')),
    ]
    if (rule !== undefined)
      crossings.push(...imported.filter((name) => !rule.test(name)).map((name) => `${file}: ${name}`))
  }
  t.ok(files.length > 40, 'the files were found')
  t.strictSame(crossings, [], 'each room imports what its row of the floor plan allows')
  t.strictSame(
    [...graph.keys()].filter((file) => reaches(graph, file, file)),
    [],
    'there are no circles',
  )
})

function reaches(graph: ReadonlyMap<string, string[]>, from: string, to: string, seen = new Set<string>()): boolean {
  return (graph.get(from) ?? []).some((next) => {
    if (next === to) return true
    if (seen.has(next)) return false
    seen.add(next)
    return reaches(graph, next, to, seen)
  })
}
