import { once } from 'node:events'
import { createServer } from 'node:net'
import { pino } from 'pino'
import { bankWebClient, demoClient, demoUsers } from '../authorization-server/demo-users.js'
import { startAuthorizationServer } from '../authorization-server/server.js'
import { buildBankWeb } from '../bank-web/server.js'
import { createIntranetClient } from '../fabrikam-intranet/client.js'
import { startIntranet } from '../fabrikam-intranet/server.js'
import { startApi } from './api-process.js'
import { describeDemo } from './description.js'
import { playStory } from './play-story.js'
import { demoHost, demoStepUp, readDemoSettings } from './settings.js'
import { printTo } from './terminal.js'

/**
 * Starts the authorization server, the API, the bank's front end and the intranet, plays the story once, says how to go on,
 * and stays up until Ctrl-C. Any fault is one line on stderr and exit code 1, with nothing left running.
 */

const closers: (() => Promise<void>)[] = []
let ending = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(0))

try {
  await run()
} catch (error) {
  await fail((error as Error).message)
}

async function run(): Promise<void> {
  const settings = readDemoSettings(process.env)
  const { apiPort, apiUrl, issuerPort, bankWebPort, bankWebUrl, intranetPort, intranetUrl, dataFolder } = settings
  await expectFreePort(apiPort, 'DEMO_API_PORT')
  await expectFreePort(issuerPort, 'DEMO_ISSUER_PORT')
  await expectFreePort(bankWebPort, 'DEMO_BANK_PORT')
  await expectFreePort(intranetPort, 'DEMO_INTRANET_PORT')

  const intranetClient = createIntranetClient(intranetUrl)
  const server = await startAuthorizationServer({
    host: demoHost,
    port: issuerPort,
    resource: apiUrl,
    users: demoUsers,
    clients: [demoClient, bankWebClient(bankWebUrl), intranetClient.metadata],
  })
  closers.unshift(() => server.close())

  const { issuer } = server
  const api = startApi({ port: apiPort, issuer, dataFolder, corsOrigins: bankWebUrl })
  closers.unshift(() => api.stop())
  process.once('exit', () => api.kill())
  void api.ended.then((how) => fail(`the API ended by itself (${how})`))
  const intranet = await startIntranet({
    host: demoHost,
    port: intranetPort,
    issuer,
    client: intranetClient,
    logger: pino({ level: 'warn' }),
  })
  closers.unshift(() => intranet.close())
  await api.ready()

  const bankWeb = buildBankWeb({ apiUrl, issuer, clientId: bankWebClient(bankWebUrl).client_id })
  await bankWeb.listen({ host: demoHost, port: bankWebPort })
  closers.unshift(async () => {
    bankWeb.server.closeAllConnections()
    await bankWeb.close()
  })

  const [person] = demoUsers
  if (person === undefined) throw new Error('there are no users')
  await playStory({ apiUrl, issuer, person, stepUp: demoStepUp }, printTo(process.stdout, process.env))
  if (!ending) process.stdout.write(describeDemo(settings))
}

/** Looks before anything is started, so that a taken port leaves nothing to clean up. */
async function expectFreePort(port: number, variable: string): Promise<void> {
  const probe = createServer()
  try {
    probe.listen(port, demoHost)
    await once(probe, 'listening')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'EADDRINUSE' ? 'is taken: stop what listens there or' : `cannot be used (${code}):`
    throw new Error(`port ${port} ${reason} set ${variable}`, { cause: error })
  }
  probe.close()
  await once(probe, 'close')
}

/** What fails while we are ending fails because we are ending. */
async function fail(message: string): Promise<void> {
  if (ending) return
  process.stderr.write(`demo: ${message}\n`)
  await end(1)
}

async function end(exitCode: number): Promise<void> {
  if (ending) return
  ending = true
  for (const close of closers) await close()
  process.exit(exitCode)
}
