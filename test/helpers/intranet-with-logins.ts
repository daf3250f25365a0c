import { TOTP } from 'otpauth'
import { pino } from 'pino'
import type { Test } from 'tap'
import { demoClient } from '../../examples/authorization-server/demo-users.js'
import { startAuthorizationServer } from '../../examples/authorization-server/server.js'
import { createIntranetClient } from '../../examples/fabrikam-intranet/client.js'
import { startIntranet } from '../../examples/fabrikam-intranet/server.js'
import { ManualClock } from './manual-clock.js'
import { findLastingPort } from './ports.js'

export const alice = {
  username: 'alice',
  password: 'a password of alice',
  totpSecret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP',
}
export const bob = { username: 'bob', password: 'a password of bob', totpSecret: 'KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU' }

const host = '127.0.0.1'

/** The intranet and the example authorization server with alice and bob, on one clock that stands still until it is moved. */
export async function startIntranetWithLogins(t: Test) {
  const clock = new ManualClock()
  const port = await findLastingPort()
  const url = `http://${host}:${port}`
  const client = createIntranetClient(url)
  const issuerPort = await findLastingPort()
  const startIssuer = () =>
    startAuthorizationServer({
      port: issuerPort,
      resource: 'http://127.0.0.1:3999',
      users: [alice, bob],
      clients: [demoClient, client.metadata],
      clock,
      passwordCost: { N: 2 },
    })
  let authorizationServer = await startIssuer()
  t.teardown(() => authorizationServer.close())
  const { issuer } = authorizationServer
  const log: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => log.push(JSON.parse(line)) })
  const app = await startIntranet({ host, port, issuer, client, clock, logger })
  t.teardown(() => app.close())

  return {
    url,
    issuer,
    client,
    clock,
    log,
    stopIssuer: () => authorizationServer.close(),
    async restartIssuer() {
      authorizationServer = await startIssuer()
    },
    /** The code that a person's authenticator app shows now. Each works once, so it moves the clock to the next one first. */
    nextCode({ totpSecret }: { totpSecret: string }): string {
      clock.advance(30_000)
      return new TOTP({ secret: totpSecret }).generate({ timestamp: clock.nowMs() })
    },
  }
}

export type IntranetWithLogins = Awaited<ReturnType<typeof startIntranetWithLogins>>
