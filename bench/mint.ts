import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The `acr` of tokens that may transfer; for `STEP_UP_ACR_VALUES`. */
export const acr = 'urn:bench:mfa'

const lifetimeSeconds = 600
const signedTogether = 512
/** Tokens look as if they had been issued at this rate, in order, until now: stores that sort by time see it. */
const issuedPerSecond = 7000

export interface Issuer {
  url: string
  publicKeyPem: string
  /** Signs one RS256 access token (RFC 9068) for each subject, each with a `jti` of its own. */
  mint(audience: string, subjects: readonly string[], scope: string): Promise<string[]>
  close(): void
}

/**
 * Starts an issuer of access tokens in this process: metadata and JWK Set over HTTP, one RSA key of 2048 bits. It signs
 * ahead of the measurement, on every core, in the threads of libuv. Not an authorization server.
 */
export async function startIssuer(): Promise<Issuer> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const kid = randomUUID()
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }]
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/jwks' ? { keys } : { issuer: url, jwks_uri: `${url}/jwks` }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const header = encode({ alg: 'RS256', typ: 'at+jwt', kid })

  async function mint(audience: string, subjects: readonly string[], scope: string): Promise<string[]> {
    const now = Math.floor(Date.now() / 1000)
    const shared = { iss: url, aud: audience, client_id: 'bench', scope, acr }
    const issue = (sub: string, index: number) => {
      const iat = now - Math.floor((subjects.length - index) / issuedPerSecond)
      return { ...shared, sub, jti: randomUUID(), iat, exp: iat + lifetimeSeconds, auth_time: iat }
    }
    const tokens: string[] = []
    for (let index = 0; index < subjects.length; index += signedTogether) {
      const some = subjects.slice(index, index + signedTogether)
      const claims = some.map((sub, offset) => issue(sub, index + offset))
      tokens.push(...(await Promise.all(claims.map((one) => signCompact(`${header}.${encode(one)}`, privateKey)))))
    }
    return tokens
  }

  return {
    url,
    publicKeyPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    mint,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

function signCompact(input: string, privateKey: KeyObject): Promise<string> {
  return new Promise((resolve, reject) => {
    sign('sha256', Buffer.from(input), privateKey, (error, signature) => {
      if (error === null) resolve(`${input}.${signature.toString('base64url')}`)
      else reject(error)
    })
  })
}
