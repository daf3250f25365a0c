import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ManualClock } from '../helpers/manual-clock.js'
import { exchange, rawRequest } from '../helpers/raw-http.js'
import { bankEnvironment, mintFor, startServer as startProcess } from '../helpers/server-process.js'
import { acrMfa, ibans, publicUrl, TokenMint, transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const secret = () => `secret-${randomUUID()}`
const subject = secret()
const clientId = secret()

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** The real server in a process of its own, at the level that logs most. */
async function startServer(issuer: TestIssuer, folder: string) {
  const accountsFile = join(folder, 'accounts.json')
  const account = { owner: subject, iban: ibans.alice, name: 'Current', currency: 'EUR', balance: '1000.00' }
  writeFileSync(accountsFile, JSON.stringify([account, { ...account, owner: 'bob', iban: ibans.bob }]))
  const port = await findFreePort()
  const child = spawn(process.execPath, ['dist/server.js'], {
    env: {
      PORT: String(port),
      PUBLIC_URL: publicUrl,
      ISSUER: issuer.url,
      AUDIENCE: publicUrl,
      DATA_DIR: join(folder, 'data'),
      ACCOUNTS_FILE: accountsFile,
      STEP_UP_ACR_VALUES: acrMfa,
      LOG_LEVEL: 'trace',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const listening = new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error(output)))
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
        if (output.includes('listening')) resolve()
      })
    }
  })
  await listening
  return {
    port,
    kill: () => child.kill('SIGKILL'),
    async stop(): Promise<{ output: string; code: number | null }> {
      child.kill('SIGTERM')
      const [code] = (await once(child, 'close')) as [number | null]
      return { output, code }
    },
  }
}

t.test('9700-4.9.3-3 (RFC 9700 §4.9.3): no log line at any level holds a token or a claim', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-test-'))
  const issuer = await TestIssuer.start()
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  t.teardown(() => issuer.stop())
  const server = await startServer(issuer, folder)
  t.teardown(server.kill)
  const mint = new TokenMint(issuer, new ManualClock(), publicUrl)
  const presented: string[] = []
  const claims = () => ({ sub: subject, client_id: clientId, jti: secret(), acr: acrMfa })
  const keep = (token: string): string => {
    presented.push(token)
    return token
  }
  const read = () => keep(mint.read(claims()))
  const transfer = () => keep(mint.transfer(claims()))
  const bearer = (token: string) => `Authorization: Bearer ${token}`
  const json = 'Content-Type: application/json'
  const body = JSON.stringify(transferBody())
  const spent = transfer()
  const odd = { ...claims(), authorization_details: [{ type: secret() }] }

  const requests: [string, string, string[]?, string?][] = [
    ['GET', '/accounts', [bearer(read())]],
    ['POST', '/transfers', [bearer(spent), json], body],
    ['POST', '/transfers', [bearer(spent), json], body],
    ['POST', '/transfers', [bearer(transfer()), json, `Idempotency-Key: ${secret()}`], body],
    ['POST', '/transfers', [bearer(read()), json], body],
    ['POST', '/transfers', [bearer(keep(mint.transfer(odd))), json], body],
    ['GET', '/accounts', [bearer(keep(mint.read({ ...claims(), exp: 1 })))]],
    ['GET', '/accounts', [bearer(keep(mint.read({ ...claims(), scope: secret() })))]],
    ['GET', '/accounts', [bearer(`${read()}x`)]],
    ['GET', '/accounts', [bearer(`${read()} ${read()}`)]],
    ['GET', '/accounts', [`Authorization: DPoP ${read()}`, `DPoP: ${read()}`]],
    ['GET', '/accounts', [`Authorization: ${read()}`]],
    [
      'GET',
      '/accounts',
      [`Cookie: token=${read()}`, `Referer: https://x.example/?t=${read()}`, `User-Agent: ${read()}`],
    ],
    ['GET', `/accounts?access_token=${read()}`],
    ['GET', `/accounts?access_token=${read()}`, [bearer(read())]],
    ['GET', `/accounts/${read()}`, [bearer(read())]],
    ['GET', `/accounts/${read().slice(-90)}`, [bearer(read())]],
    ['GET', `/nowhere/${read()}?${read()}`],
    ['PUT', `/accounts?${read()}`],
    ['GET', `/%?token=${read()}`],
    ['GET', `/problems/${read()}`],
    ['GET', `/docs/${read()}`],
    [read().slice(0, 20), '/'],
    ['GET', `/${'x'.repeat(17_000)}${read()}`],
    ['POST', '/transfers', [bearer(transfer()), json], `{"access_token":"${read()}`],
    ['POST', '/transfers', [bearer(transfer()), json], `{"${read()}":1}`],
    ['POST', '/transfers', [bearer(transfer()), json], read()],
    ['POST', '/transfers', [bearer(transfer()), `Content-Type: ${read()}`], body],
    ['POST', '/transfers', [bearer(transfer()), json, `Idempotency-Key: ${read()}`], body],
    ['GET', '/accounts', [bearer(read()), `X-Request-Id: ${read()}`, `Traceparent: ${read()}`]],
  ]
  for (const [method, target, fields, text] of requests) {
    const answers = await exchange(server.port, rawRequest(method, target, fields, text), { answers: 1 })
    t.equal(answers.length, 1, `${method} ${target.slice(0, 20)}`)
  }
  await exchange(server.port, `${rawRequest('POST', '/transfers', [bearer(transfer()), json])}${read()}`)
  await exchange(server.port, `GET /accounts HTTP/1.1\r\n${bearer(read())}\r\nBroken ${read()}\r\n\r\n`)
  const stranger = mint.sign(mint.claims(claims()), { kid: secret() })
  await issuer.stop()
  for (let count = 0; count < 2; count += 1) {
    await exchange(server.port, rawRequest('GET', '/accounts', [bearer(keep(stranger))]), { answers: 1 })
  }

  const { output, code } = await server.stop()
  t.equal(code, 0, 'the server ended as it should')
  const lines = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const routes = new Set(lines.map((line) => line['route']))
  for (const route of ['/accounts', '/accounts/:resourceId', '/transfers'])
    t.ok(routes.has(route), `${route} was logged`)
  t.ok(
    lines.some(({ jtiDigest }) => typeof jtiDigest === 'string'),
    'the digest of a jti is there',
  )
  t.notMatch(output, /eyJ/, 'no beginning of a token')
  t.notMatch(output, /secret-/, 'no claim, key or header of a caller')
  t.notMatch(output, /access_token|%\?/, 'no address')
  const parts = new Set(presented.flatMap((token) => token.split('.')))
  t.strictSame(
    [...parts].filter((part) => output.includes(part)),
    [],
    'no part of a token',
  )
})

t.test('an outage costs one line a request, without a stack', async (t) => {
  const issuer = await TestIssuer.start()
  t.teardown(() => issuer.stop())
  const nobody = `http://127.0.0.1:${await findFreePort()}`
  const tokens = mintFor(issuer)
  const outages = [
    { problem: 'keys-unavailable', level: 30, outage: undefined, environment: { ISSUER: nobody } },
    {
      problem: 'ledger-unavailable',
      level: 40,
      outage: /^LedgerUnavailable/,
      environment: { DATABASE_URL: `${nobody.replace('http:', 'postgres:')}/bank` },
    },
  ]
  for (const { problem, level, outage, environment } of outages) {
    t.test(problem, async (t) => {
      const all = await bankEnvironment(t, issuer.url, { LOG_LEVEL: 'info', ...environment })
      const server = await startProcess(t, all)
      for (let count = 0; count < 20; count += 1) {
        const headers = { authorization: `Bearer ${tokens.read()}` }
        t.equal((await fetch(`${server.url}/accounts`, { headers })).status, 503)
      }
      await server.stop()
      const ofRequests = server.log.filter((line) => 'reqId' in line)
      t.equal(ofRequests.length, 20)
      for (const line of ofRequests) t.match(line, { msg: 'request ended', problem, level, outage })
      t.notMatch(JSON.stringify(ofRequests), /stack|node_modules/)
      const told = server.log.filter((line) => 'err' in line)
      t.ok(told.length === 1, 'and the outage itself is told once')
    })
  }
})
