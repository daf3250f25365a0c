import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { ProofReplayStore } from 'stepgate'
import t from 'tap'
import { makeCertificate } from '../helpers/certificate.js'
import { ProofMaker } from '../helpers/dpop.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { checkRefusal } from '../helpers/refusals.js'
import { missingService } from '../helpers/services.js'
import { publicUrl, startTestApi } from '../helpers/test-api.js'
import { buildService } from '../plugins/service.js'

interface Identity {
  cert: Buffer
  key: Buffer
  /** What a token that is bound to the certificate has among its claims. */
  binding: { cnf: { 'x5t#S256': string } }
}

function makeIdentity(folder: string): Identity {
  const { path, keyPath } = makeCertificate(mkdtempSync(join(folder, 'identity-')))
  const cert = readFileSync(path)
  const thumbprint = createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url')
  return { cert, key: readFileSync(keyPath), binding: { cnf: { 'x5t#S256': thumbprint } } }
}

/** The certificate of the connection, whose key its client has. */
function clientCertificate({ raw }: FastifyRequest): Buffer | undefined {
  return (raw.socket as TLSSocket).getPeerX509Certificate()?.raw
}

t.test('certificate-bound tokens over TLS', { skip: missingService('openssl') }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const [server, client, other] = [makeIdentity(folder), makeIdentity(folder), makeIdentity(folder)]
  const clock = new ManualClock(1_700_000_000_000)
  const app = Fastify({
    https: { cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: false },
  }) as unknown as FastifyInstance
  const replayStore = new ProofReplayStore({ maxEntries: 100, clock })
  const dpop = { mode: 'accept', publicUrl, replayStore } as const
  const { mint } = await buildService(t, { app, clock, tokens: { clientCertificate, dpop } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo

  async function read(headers: Record<string, string>, identity?: Pick<Identity, 'cert' | 'key'>) {
    const target: RequestOptions = { host: '127.0.0.1', port, path: '/read', headers, ca: server.cert, agent: false }
    const [response, text] = await new Promise<[IncomingMessage, string]>((resolve, reject) => {
      const call = request({ ...target, cert: identity?.cert, key: identity?.key }, (incoming) => {
        let body = ''
        incoming.setEncoding('utf8').on('data', (part: string) => {
          body += part
        })
        incoming.on('end', () => resolve([incoming, body]))
      })
      call.on('error', reject).end()
    })
    const fields = response.headers as Record<string, string>
    return { status: response.statusCode as number, body: JSON.parse(text), headers: new Headers(fields) }
  }

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  const notProven = [401, 'token-binding-not-proven'] as const

  t.test('8705-3-2 (RFC 8705 §3): the certificate of the connection is the one that the token names', async (t) => {
    const token = mint(client.binding)
    for (const use of ['first', 'second, from the cache']) {
      t.equal((await read(bearer(token), client)).status, 200, use)
      for (const identity of [undefined, other, server]) {
        const { status, body } = await read(bearer(token), identity)
        t.strictSame([status, body.type], [401, `${publicUrl}/problems/token-binding-not-proven`], use)
      }
    }
    t.equal((await read(bearer(mint()), client)).status, 200, 'a token that is not bound needs no certificate')
  })

  t.test('8705-3-3 (RFC 8705 §3): without the certificate, or with another, it is 401 invalid_token', async (t) => {
    const token = mint(client.binding)
    for (const identity of [undefined, other, server]) {
      const { status, body, headers } = await read(bearer(token), identity)
      t.match(body, { type: /\/token-binding-not-proven$/, error: 'invalid_token' })
      t.equal(status, 401)
      t.match(headers.get('www-authenticate'), /^Bearer realm="stepgate", error="invalid_token", scope="read"/)
    }
  })

  t.test('8705-3.1-2 (RFC 8705 §3.1): a digest with anything added is no digest', async (t) => {
    const digest = client.binding.cnf['x5t#S256']
    for (const odd of [
      `${digest}=`,
      `${digest} `,
      ` ${digest}`,
      `${digest}\n`,
      digest.slice(1),
      digest.toLowerCase(),
      '',
    ]) {
      const { status, body } = await read(bearer(mint({ cnf: { 'x5t#S256': odd } })), client)
      t.strictSame([status, body.error], [401, 'invalid_token'], JSON.stringify(odd))
    }
  })

  t.test('a token that is bound to a key and a certificate needs both', async (t) => {
    const maker = new ProofMaker(clock)
    const token = mint({ cnf: { ...client.binding.cnf, ...maker.binding.cnf } })
    const withProof = () => maker.headers({ method: 'GET', path: '/read', token })
    t.equal((await read(withProof(), client)).status, 200)
    t.match((await read(withProof(), other)).body, { type: /\/token-binding-not-proven$/ })
    t.match((await read(bearer(token), client)).body, { type: /\/token-binding-not-proven$/ })
  })

  t.test('RFC 8705 §3: the server sees no certificate, and refuses', async (t) => {
    const api = await startTestApi(t)
    const token = api.tokens.read(client.binding)
    for (const headers of [{}, { 'x-client-cert': client.cert.toString('base64'), 'client-cert': 'x' }]) {
      checkRefusal(t, await api.call('GET', '/accounts', { token, headers }), notProven)
    }
  })
})
