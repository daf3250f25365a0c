import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { problems } from '#src/core/problems.js'
import { buildDocumentationApp } from '#src/plugins/documentation-app.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { startTestApi } from '../helpers/test-api.js'

interface Operation {
  operationId: string
  security: { accessToken?: string[] }[]
  parameters?: { name: string; in: string }[]
  responses: Record<
    string,
    {
      headers?: Record<string, unknown>
      content?: Record<string, { examples?: Record<string, { value: { status: number } }> }>
    }
  >
}

const api = await startTestApi(t)
const text = await (await fetch(`${api.url}/openapi.yaml`)).text()
const document = parse(text) as { openapi: string; paths: Record<string, Record<string, Operation>> }
const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
const operation = (id: string): Operation => operations.find(({ operationId }) => operationId === id) as Operation

t.test('the document served is the one committed, in YAML and JSON, whatever the configuration', async (t) => {
  t.equal(text, readFileSync('openapi.yaml', 'utf8'))
  const json = await fetch(`${api.url}/openapi.json`)
  t.match(json.headers.get('content-type'), /^application\/json/)
  t.strictSame(await json.json(), document)
  t.equal(document.openapi, '3.1.0')
})

t.test('security stands on every operation and follows from the route', async (t) => {
  t.strictSame(operation('createTransfer').security, [{ accessToken: ['transfer:funds'] }])
  t.strictSame(operation('listAccounts').security, [{ accessToken: ['read:accounts'] }])
  t.strictSame(operation('getLiveness').security, [])
  t.ok(operations.every(({ security }) => Array.isArray(security)))
})

t.test('every route of the API is described, and nothing else', async (t) => {
  t.strictSame(Object.keys(document.paths).sort(), [
    '/.well-known/oauth-protected-resource',
    '/accounts',
    '/accounts/{resourceId}',
    '/accounts/{resourceId}/transactions',
    '/livez',
    '/problems/{name}',
    '/readyz',
    '/transfers',
    '/transfers/{transferId}',
  ])
})

t.test(
  'headers: WWW-Authenticate on challenges, Location and Idempotency-Replayed on 201, Retry-After on 503',
  async (t) => {
    const { responses, parameters } = operation('createTransfer')
    t.ok(responses['401']?.headers?.['WWW-Authenticate'])
    t.ok(responses['403']?.headers?.['WWW-Authenticate'])
    t.ok(responses['201']?.headers?.['Location'])
    t.ok(responses['201']?.headers?.['Idempotency-Replayed'])
    t.ok(responses['503']?.headers?.['Retry-After'])
    t.notOk(responses['422']?.headers?.['WWW-Authenticate'])
    t.ok(responses['401']?.headers?.['DPoP-Nonce'])
    t.strictSame(
      parameters?.map(({ name }) => name),
      ['DPoP', 'Idempotency-Key'],
    )
  },
)

t.test('every problem named there exists, with its status', async (t) => {
  for (const { responses } of operations) {
    for (const [status, { content }] of Object.entries(responses)) {
      for (const [name, { value }] of Object.entries(content?.['application/problem+json']?.examples ?? {})) {
        t.equal(problems[name as keyof typeof problems].status, Number(status))
        t.equal(value.status, Number(status))
      }
    }
  }
})

t.test('the page at /docs loads everything from this server', async (t) => {
  const page = await fetch(`${api.url}/docs`)
  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), /^text\/html/)
  t.match(page.headers.get('content-security-policy'), /default-src 'none'/)
  const html = await page.text()
  t.notMatch(html, /(?:src|href)="(?:https?:)?\/\//)
  const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path as string)
  t.ok(assets.length > 3)
  for (const path of assets) {
    t.equal((await fetch(new URL(path, `${api.url}/docs/`))).status, 200, path)
  }
  t.equal((await fetch(`${api.url}/docs/static/../../package.json`)).status, 404)
  t.equal((await fetch(`${api.url}/docs/static/nothing`)).status, 404)
})

t.test('the application that makes the document answers nobody at the routes it describes', async (t) => {
  const handler = async () => 'secret'
  const route = { method: 'GET', url: '/accounts', handler, config: { access: { scope: 'read:accounts' } } } as const
  const app = await buildDocumentationApp([route])
  t.teardown(() => app.close())
  const answer = await app.inject('/accounts')
  t.strictSame([answer.statusCode, answer.body], [404, ''])
})

t.test('only the documents are kept, so other spellings of a path cost no memory', async (t) => {
  for (const path of [
    'x/../static/index.css',
    'static/%69ndex.css',
    'static/./nothing',
    '%2e%2e/openapi.json',
    'static//../json',
  ]) {
    const { port } = new URL(api.url)
    const answer = await exchangeOne(Number(port), rawRequest('GET', `/docs/${path}`))
    t.ok([200, 404].includes(answer.status), path)
    if (path.includes('..') || path.includes('nothing')) t.equal(answer.status, 404, path)
  }
})
