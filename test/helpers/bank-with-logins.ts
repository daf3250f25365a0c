import type { Test } from 'tap'
import { demoClient } from '../../examples/authorization-server/demo-users.js'
import type { SecondFactor } from '../../examples/authorization-server/second-factor.js'
import { startAuthorizationServer } from '../../examples/authorization-server/server.js'
import { HeadlessBrowser } from '../../examples/demo/headless-browser.js'
import { findLastingPort } from './ports.js'
import { bankEnvironment, startServer, untilReady } from './server-process.js'

export { demoClient as client } from '../../examples/authorization-server/demo-users.js'

/** Where the authorization server sends alice back to. Nothing listens there, since her browser stops before it. */
export const callback = 'http://127.0.0.1:49152/callback'

const alice = { username: 'alice', password: 'a password of alice' }
const badge = 'the badge of alice'
const maxPages = 3

/** A second factor that works any number of times, where a one-time code would make the test wait for the next. */
const badgeReader: SecondFactor = async ({ answer }) =>
  answer === badge
    ? { outcome: 'passed', amr: ['hwk'] }
    : { outcome: 'ask', label: 'Badge', hint: '', input: { autocomplete: 'off', inputmode: 'text' } }

/** The API as it is shipped, the example authorization server, and alice with a browser. The environment can be changed. */
export async function startBankWithLogins(t: Test, changes: Record<string, string> = {}) {
  const port = String(await findLastingPort())
  const apiUrl = `http://127.0.0.1:${port}`
  const authorizationServer = await startAuthorizationServer({
    port: 0,
    resource: apiUrl,
    users: [alice],
    clients: [demoClient],
    secondFactor: badgeReader,
    passwordCost: { N: 2 },
  })
  t.teardown(() => authorizationServer.close())
  const { issuer } = authorizationServer
  const environment = await bankEnvironment(t, issuer, {
    PORT: port,
    PUBLIC_URL: apiUrl,
    AUDIENCE: apiUrl,
    STEP_UP_MAX_AGE: '300',
    ...changes,
  })
  const server = await startServer(t, environment, { form: 'bundled' })
  await untilReady(server)
  const browser = new HeadlessBrowser(issuer, callback)

  /** Answers every page as alice would. Tells where she was sent in the end, and what she was asked on the way. */
  async function visit(url: URL): Promise<{ callbackUrl: URL; asked: string[] }> {
    const asked: string[] = []
    let visited = await browser.open(url)
    while (visited.kind === 'page') {
      const { page } = visited
      const question = page.fields.has('password') ? 'password' : 'second factor'
      asked.push(question)
      if (page.alert !== undefined || asked.length > maxPages) throw new Error(page.alert ?? 'too many pages')
      visited = await browser.submit(page, question === 'password' ? alice : { answer: badge })
    }
    return { callbackUrl: visited.url, asked }
  }

  return { apiUrl, dataFolder: environment.DATA_DIR, issuer, visit }
}

export type BankWithLogins = Awaited<ReturnType<typeof startBankWithLogins>>
