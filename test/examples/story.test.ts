import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { demoClient, demoUsers } from '../../examples/authorization-server/demo-users.js'
import { startAuthorizationServer } from '../../examples/authorization-server/server.js'
import { startApi } from '../../examples/demo/api-process.js'
import { StoryDiffers } from '../../examples/demo/expectations.js'
import { playBoundStory } from '../../examples/demo/play-bound-story.js'
import { playStory } from '../../examples/demo/play-story.js'
import { demoStepUp } from '../../examples/demo/settings.js'
import type { StoryOptions } from '../../examples/demo/story-parts.js'
import type { StoryLine } from '../../examples/demo/terminal.js'

const [alice, bob] = demoUsers
if (alice === undefined || bob === undefined) throw new Error('the demo has two users')

/** A port that was free a moment ago: the API's own address is part of its configuration, so it cannot pick one. */
async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** What a process has written when it ends, and its exit code. */
async function finish(child: ChildProcessWithoutNullStreams): Promise<{ exitCode: number; out: string; err: string }> {
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (err += chunk))
  const [exitCode] = await once(child, 'close')
  return { exitCode, out, err }
}

/** What a process has written once it wrote the words; or all of it, when it ends without them. */
function readUntil(child: ChildProcessWithoutNullStreams, words: string): Promise<string> {
  return new Promise((resolve) => {
    let out = ''
    child.once('close', () => resolve(out))
    child.stdout.on('data', (chunk) => {
      out += chunk
      if (out.includes(words)) resolve(out)
    })
  })
}

/** Both servers, as the demo starts them. */
async function startBoth(t: Test): Promise<Omit<StoryOptions, 'person'>> {
  const port = await findFreePort()
  const apiUrl = `http://127.0.0.1:${port}`
  const server = await startAuthorizationServer({
    port: 0,
    resource: apiUrl,
    users: demoUsers,
    clients: [demoClient],
    passwordCost: { N: 2 },
  })
  t.teardown(() => server.close())
  const api = startApi({ port, issuer: server.issuer, dataFolder: t.testdir() })
  t.teardown(() => api.stop())
  await api.ready()
  return { apiUrl, issuer: server.issuer, stepUp: demoStepUp }
}

t.test('the story goes as told', async (t) => {
  const world = await startBoth(t)
  const lines: StoryLine[] = []
  await playStory({ ...world, person: alice }, (line) => lines.push(line))
  t.strictSame(
    lines.filter(({ kind }) => kind === 'step').map(({ text }) => text.slice(0, 2)),
    ['1.', '2.', '3.', '4.', '5.', '6.', '7.'],
  )
  const refusals = lines.filter(({ kind }) => kind === 'refusal').map(({ text }) => text)
  t.match(refusals, [
    /^403, WWW-Authenticate: Bearer realm="stepgate", error="insufficient_scope"/,
    /^401, .*invalid_token/,
  ])
  t.equal(lines.filter(({ kind }) => kind === 'next').length, refusals.length, 'each refusal says what comes next')
  t.notMatch(JSON.stringify(lines), /eyJ/, 'no token is printed')

  t.test('and stops at the first thing that differs', async (t) => {
    const told: StoryLine[] = []
    const otherStepUp = { ...demoStepUp, maxAgeSeconds: 17 }
    const story = playStory({ ...world, stepUp: otherStepUp, person: alice }, (line) => told.push(line))
    await t.rejects(story, { name: 'StoryDiffers', message: /^the challenge is .*"300".*should be .*"17"/ })
    t.notOk(told.some(({ text }) => text.startsWith('4.')))
  })

  t.test('and needs someone with two accounts', async (t) => {
    await t.rejects(
      playStory({ ...world, person: bob }, () => {}),
      StoryDiffers,
    )
  })
})

t.test('the story in which the token is bound to one payment', async (t) => {
  const world = await startBoth(t)
  const lines: StoryLine[] = []
  await playBoundStory({ ...world, person: alice }, (line) => lines.push(line))
  const told = lines.map(({ kind, text }) => `${kind} ${text}`).join('\n')
  for (const words of ['note Amount: 25.00 EUR; To: ', 'refusal 403, ', '"amount":"250.00"', 'answer 201, '])
    t.ok(told.includes(words), words)
  t.notMatch(told, /eyJ/, 'no token is printed')
})

t.test('the demo', async (t) => {
  const apiPort = await findFreePort()
  const issuerPort = await findFreePort()
  const bankPort = await findFreePort()
  const intranetPort = await findFreePort()
  const environment = {
    DEMO_API_PORT: String(apiPort),
    DEMO_ISSUER_PORT: String(issuerPort),
    DEMO_BANK_PORT: String(bankPort),
    DEMO_INTRANET_PORT: String(intranetPort),
    DEMO_DATA_DIR: t.testdir(),
  }
  const run = (file: string, ...args: string[]) => {
    const path = fileURLToPath(new URL(`../../examples/demo/${file}`, import.meta.url))
    const child = spawn(process.execPath, [path, ...args], { env: { ...process.env, ...environment } })
    t.teardown(() => child.kill('SIGTERM'))
    return { child, result: finish(child) }
  }

  const demo = run('demo.js')
  const printed = await readUntil(demo.child, '--token transfer:funds')
  for (const told of [
    '7. Reading goes on',
    `http://127.0.0.1:${apiPort}`,
    `http://127.0.0.1:${bankPort} (sign in as alice`,
    `http://127.0.0.1:${intranetPort} (click Customers`,
    alice.password,
    bob.totpSecret,
    environment.DEMO_DATA_DIR,
  ]) {
    t.match(printed, told)
  }

  t.test('has tokens for curl, and gives them to nobody it does not know', async (t) => {
    const read = await run('story.js', '--token', 'read:accounts', '--user', 'bob').result
    t.match(read, { exitCode: 0, out: /^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/, err: '' })
    const headers = { authorization: `Bearer ${read.out.trim()}` }
    const response = await fetch(`http://127.0.0.1:${apiPort}/accounts`, { headers })
    t.match(await response.json(), { accounts: [{ iban: 'NL91ABNA0417164300' }] })
    const unknown = await run('story.js', '--user', 'mallory').result
    t.match(unknown, { exitCode: 1, out: '', err: 'story: --user: there is no mallory\n' })
  })

  t.test('serves the front end of the bank, whose page may call the API', async (t) => {
    const origin = `http://127.0.0.1:${bankPort}`
    const page = await fetch(origin)
    t.match(page.headers.get('content-security-policy'), `connect-src http://127.0.0.1:${apiPort} http://127.0.0.1:`)
    t.match(await page.text(), `content="http://127.0.0.1:${apiPort}"`)
    const refused = await fetch(`http://127.0.0.1:${apiPort}/accounts`, { headers: { origin } })
    t.match(refused.headers.get('access-control-expose-headers'), 'WWW-Authenticate')
  })

  t.test('says which port is taken', async (t) => {
    const expected = `demo: port ${apiPort} is taken: stop what listens there or set DEMO_API_PORT\n`
    t.match(await run('demo.js').result, { exitCode: 1, out: '', err: expected })
  })

  t.test('ends cleanly, and leaves nothing running', async (t) => {
    demo.child.kill('SIGINT')
    t.match(await demo.result, { exitCode: 0, err: '' })
    for (const port of [apiPort, issuerPort, bankPort, intranetPort])
      await t.rejects(fetch(`http://127.0.0.1:${port}/`), `port ${port}`)
    const story = await run('story.js').result
    t.match(story, { exitCode: 1, err: 'story: nothing listens there: start npm run demo first, or see --help\n' })
  })
})
