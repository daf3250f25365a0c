import { generateKeyPairSync, type KeyObject, type KeyPairKeyObjectResult, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The `acr` of tokens that may transfer; for `STEP_UP_ACR_VALUES`. */
export const acr = 'urn:bench:mfa'

/** What a transfer token may live at most, by default. */
const lifetimeSeconds = 600
const signedTogether = 512
/** Tokens look as if they had been issued at this rate, in order, until now: stores that sort by time see it. */
const issuedPerSecond = 7000

/** Where packages look that do not read the issuer's metadata. */
const jwksPath = '/.well-known/jwks.json'

export type BenchAlgorithm = 'RS256' | 'ES256' | 'EdDSA'

export interface Issuer {
  url: string
  jwksUri: string
  /** Of its first key. */
  publicKeyPem: string
  /**
   * Signs one access token (RFC 9068) for each subject, each with a `jti` of its own and the further claims, with its keys in
   * turn.
   */
  mint(audience: string, subjects: readonly string[], scope: string, claims?: object): Promise<string[]>
  close(): void
}

interface SigningKey {
  privateKey: KeyObject
  publicKey: KeyObject
  /** The encoded header of the tokens that it signs. */
  header: string
  jwk: object
}

/**
 * Starts an issuer of access tokens in this process: metadata and JWK Set over HTTP, keys of one algorithm (RSA of 2048 bits,
 * P-256 or Ed25519). It signs ahead of the measurement, on every core, in the threads of libuv. Not an authorization server.
 */
export async function startIssuer(algorithm: BenchAlgorithm = 'RS256', keyCount = 1): Promise<Issuer> {
  const signingKeys = Array.from({ length: keyCount }, () => makeSigningKey(algorithm))
  const keys = signingKeys.map(({ jwk }) => jwk)
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === jwksPath ? { keys } : { issuer: url, jwks_uri: url + jwksPath }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  async function mint(audience: string, subjects: readonly string[], scope: string, more = {}): Promise<string[]> {
    const now = Math.floor(Date.now() / 1000)
    const shared = { iss: url, aud: audience, client_id: 'bench', scope, acr, ...more }
    const issue = (sub: string, index: number) => {
      const iat = now - Math.floor((subjects.length - index) / issuedPerSecond)
      return { sub, jti: randomUUID(), iat, exp: iat + lifetimeSeconds, auth_time: iat, ...shared }
    }
    const tokens: string[] = []
    for (let index = 0; index < subjects.length; index += signedTogether) {
      const some = subjects.slice(index, index + signedTogether)
      const signed = some.map((sub, offset) => {
        const key = signingKeys[(index + offset) % keyCount] as SigningKey
        return signCompact(`${key.header}.${encode(issue(sub, index + offset))}`, key.privateKey)
      })
      tokens.push(...(await Promise.all(signed)))
    }
    return tokens
  }

  return {
    url,
    jwksUri: url + jwksPath,
    publicKeyPem: (signingKeys[0] as SigningKey).publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    mint,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function makeSigningKey(alg: BenchAlgorithm): SigningKey {
  const { privateKey, publicKey } = generateKeys(alg)
  const kid = randomUUID()
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
  return { privateKey, publicKey, header: encode({ alg, typ: 'at+jwt', kid }), jwk }
}

export function generateKeys(alg: BenchAlgorithm): KeyPairKeyObjectResult {
  if (alg === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return generateKeyPairSync('ed25519')
}

/** A part of a JWT. */
export function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

/** Signs a JWT in a thread of libuv. The input is the encoded header and payload. */
export function signCompact(input: string, key: KeyObject): Promise<string> {
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  return new Promise((resolve, reject) => {
    sign(digest, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }, (error, signature) => {
      if (error === null) resolve(`${input}.${signature.toString('base64url')}`)
      else reject(error)
    })
  })
}
