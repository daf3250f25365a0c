import { parseArgs } from 'node:util'
import { demoUsers } from '../authorization-server/demo-users.js'
import { createBankClient } from './bank-client.js'
import { playBoundStory } from './play-bound-story.js'
import { playStory } from './play-story.js'
import { demoStepUp, readDemoSettings } from './settings.js'
import { printTo } from './terminal.js'

/**
 * Plays the story against a running demo, and exits with 1 at the first thing that differs. With `--token`, signs in by
 * the same pages and writes nothing but a token, for `TOKEN=$(…)`.
 */

const usage = `usage: npm run story -- [--api URL] [--issuer URL] [--user NAME] [--bound | --token SCOPES]

  --api, --issuer  where the demo listens (default: as npm run demo, with the same DEMO_API_PORT and DEMO_ISSUER_PORT)
  --user           who signs in: ${demoUsers.map(({ username }) => username).join(', ')} (default: alice)
  --bound          the variant in which the token is bound to one payment (RFC 9396)
  --token          instead of the story, write a token with these scopes: TOKEN=$(npm run --silent story -- --token read:accounts)
`

try {
  await run()
} catch (error) {
  process.stderr.write(`story: ${explain(error)}\n`)
  process.exitCode = 1
}

async function run(): Promise<void> {
  const defaults = readDemoSettings(process.env)
  const { values } = parseArgs({
    options: {
      api: { type: 'string', default: defaults.apiUrl },
      issuer: { type: 'string', default: defaults.issuer },
      user: { type: 'string', default: 'alice' },
      bound: { type: 'boolean', default: false },
      token: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    return
  }
  const { api: apiUrl, issuer, token: scope } = values
  const person = demoUsers.find(({ username }) => username === values.user)
  if (person === undefined) throw new Error(`--user: there is no ${values.user}`)
  for (const [flag, url] of Object.entries({ api: apiUrl, issuer })) {
    if (!URL.canParse(url)) throw new Error(`--${flag}: ${url} is no address`)
  }

  if (scope === undefined) {
    const print = printTo(process.stdout, process.env)
    const play = values.bound ? playBoundStory : playStory
    await play({ apiUrl, issuer, person, stepUp: demoStepUp }, print)
    print({ kind: 'step', text: 'The story went as told.' })
    return
  }
  // A token on a screen ends up in scrollback and screenshots; in a variable it does not.
  if (process.stdout.isTTY)
    throw new Error('--token writes a token: use it as TOKEN=$(npm run --silent story -- --token …)')
  const bank = await createBankClient({ apiUrl, issuer, person, print: printTo(process.stderr, process.env) })
  const { accessToken } = await bank.requestToken({ scope: `openid ${scope}` })
  process.stdout.write(`${accessToken}\n`)
}

function explain(error: unknown): string {
  const { message, cause } = error as Error
  const code = (innermost(cause) as NodeJS.ErrnoException | undefined)?.code
  return code === 'ECONNREFUSED' ? 'nothing listens there: start npm run demo first, or see --help' : message
}

function innermost(cause: unknown): unknown {
  return cause instanceof Error && cause.cause !== undefined ? innermost(cause.cause) : cause
}
