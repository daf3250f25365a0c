import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { problemDocumentSchema } from 'stepgate'
import t from 'tap'

const readme = readFileSync('README.md', 'utf8')

t.test('the code of the README boots as it stands, refuses in our form, and explains itself', async (t) => {
  const code = /```ts\n(?<code>.*?)```/s.exec(readme)?.groups?.['code'] as string
  const file = new URL('./readme-sample.mjs', import.meta.url)
  writeFileSync(file, `${code}\nexport { app }\n`)
  t.teardown(() => rmSync(file))
  const { app } = (await import(file.href)) as { app: FastifyInstance }
  t.teardown(() => app.close())
  const refused = await app.inject({ method: 'POST', url: '/payments' })
  t.equal(refused.statusCode, 401)
  t.match(refused.headers['www-authenticate'], /^Bearer realm="stepgate", scope="pay", resource_metadata="https:\/\//)
  const problem = problemDocumentSchema.parse(refused.json())
  for (const address of [problem.type, problem.resource_metadata as string]) {
    t.equal((await app.inject(new URL(address).pathname)).statusCode, 200, address)
  }
  t.equal((await app.inject('/nothing')).json().type, 'https://api.example.com/problems/unknown-path')
})

t.test('the README holds both commands and links only to files that exist', async (t) => {
  for (const command of ['npm ci && npm run demo', 'npm ci && npm test']) t.ok(readme.includes(command))
  const paths = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => path as string)
  t.ok(paths.length > 3)
  for (const path of paths) t.ok(existsSync(path), path)
})
