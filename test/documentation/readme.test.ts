import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { problemDocumentSchema } from 'stepgate'
import t, { type Test } from 'tap'

const readme = readFileSync('README.md', 'utf8')

/** The application of one of the README's samples, as it stands there. */
async function bootSample(t: Test, number: number): Promise<FastifyInstance> {
  const code = [...readme.matchAll(/```ts\n(.*?)```/gs)][number]?.[1] as string
  const file = new URL(`./readme-sample-${number}.mjs`, import.meta.url)
  writeFileSync(file, `${code}\nexport { app }\n`)
  t.teardown(() => rmSync(file))
  const { app } = (await import(file.href)) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return app
}

t.test('the code of the README boots as it stands, refuses in our form, and explains itself', async (t) => {
  const app = await bootSample(t, 0)
  const refused = await app.inject({ method: 'POST', url: '/payments' })
  t.equal(refused.statusCode, 401)
  t.match(refused.headers['www-authenticate'], /^Bearer realm="stepgate", scope="pay", resource_metadata="https:\/\//)
  const problem = problemDocumentSchema.parse(refused.json())
  for (const address of [problem.type, problem.resource_metadata as string]) {
    t.equal((await app.inject(new URL(address).pathname)).statusCode, 200, address)
  }
  t.equal((await app.inject('/nothing')).json().type, 'https://api.example.com/problems/unknown-path')
})

t.test(
  "the README's web app sends people to the step-up, and lets in who has given a second factor lately",
  async (t) => {
    const app = await bootSample(t, 1)
    const ask = (idTokenClaims?: Record<string, unknown>) =>
      app.inject({ url: '/employees', headers: { 'x-claims': JSON.stringify(idTokenClaims ?? null) } })
    app.addHook('onRequest', async (request) => {
      const idTokenClaims: unknown = JSON.parse(request.headers['x-claims'] as string)
      Object.assign(request, { session: idTokenClaims === null ? undefined : { idTokenClaims } })
    })
    const now = Math.floor(Date.now() / 1000)
    for (const claims of [
      undefined,
      { amr: ['pwd'], auth_time: now },
      { amr: ['pwd', 'mfa'], auth_time: now - 1000 },
      { acr: 'urn:example:mfa' },
    ]) {
      const { statusCode, headers } = await ask(claims)
      t.match(
        { statusCode, location: headers.location },
        { statusCode: 303, location: '/login/mfa?return_to=%2Femployees' },
      )
    }
    for (const claims of [
      { amr: ['pwd', 'mfa'], auth_time: now },
      { acr: 'urn:example:mfa', auth_time: now },
    ]) {
      t.strictSame((await ask(claims)).json(), { employees: [] })
    }
  },
)

t.test('the README holds both commands and links only to files that exist', async (t) => {
  for (const command of ['npm ci && npm run demo', 'npm ci && npm test']) t.ok(readme.includes(command))
  const paths = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => path as string)
  t.ok(paths.length > 3)
  for (const path of paths) t.ok(existsSync(path), path)
})

t.test('the tutorial shows pictures and names files that exist, and none of the pictures is left over', async (t) => {
  const tutorial = readFileSync('docs/tutorial-step-up.md', 'utf8')
  const links = [...tutorial.matchAll(/\]\((?!http)([^)#]+)(?:#[^)]*)?\)/g)].map(([, path]) =>
    join('docs', path as string),
  )
  for (const path of links) t.ok(existsSync(path), path)
  for (const name of readdirSync('docs/images')) {
    const path = `docs/images/${name}`
    t.ok(links.includes(path) || readme.includes(`](${path})`), `${path} is shown`)
    t.ok(statSync(path).size < 150_000, `${path} is small`)
  }
})
