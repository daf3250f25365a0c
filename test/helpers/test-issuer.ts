import { constants, generateKeyPairSync, type JsonWebKey, type KeyObject, randomUUID, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface SigningKey {
  kid: string
  alg: string
  privateKey: KeyObject
  jwk: JsonWebKey & { kid: string; alg?: string; use?: string; key_ops?: string[] }
}

export type Claims = Record<string, unknown>

/** Makes a key pair for one algorithm. */
export function makeKey(alg: string, kid = `${alg}-${randomUUID().slice(0, 8)}`): SigningKey {
  const pair =
    alg === 'EdDSA'
      ? generateKeyPairSync('ed25519')
      : alg.startsWith('ES')
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }
  return { kid, alg, privateKey: pair.privateKey, jwk }
}

/** Signs a compact JWS. Header and payload may be objects, raw text or bytes, so that odd tokens can be made. */
export function signCompact(header: object | string, payload: object | string, key: SigningKey): string {
  const encode = (part: object | string): string => {
    const bytes = part instanceof Buffer ? part : Buffer.from(typeof part === 'string' ? part : JSON.stringify(part))
    return bytes.toString('base64url')
  }
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${signatureOf(input, key).toString('base64url')}`
}

/** The signature of a JWS signing input (RFC 7515 §5.1). */
export function signatureOf(input: string, { alg, privateKey }: SigningKey): Buffer {
  const data = Buffer.from(input)
  if (alg === 'EdDSA') return sign(null, data, privateKey)
  if (alg.startsWith('ES')) return sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  if (alg.startsWith('PS')) {
    return sign('sha256', data, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
  }
  return sign('sha256', data, privateKey)
}

const p256Order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** An ES256 token with the same signature in its other form: (r, n - s) verifies wherever (r, s) does. */
export function malleate(token: string): string {
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const bytes = Buffer.from(signature, 'base64url')
  const s = p256Order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
  const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
  return `${header}.${payload}.${other.toString('base64url')}`
}

/**
 * An issuer of access tokens for tests: real keys, real metadata and JWK Set over HTTP on a free port. Its answers can be
 * replaced by a handler, to misbehave. Not an authorization server: the example one has logins.
 */
export class TestIssuer {
  readonly keys: Record<'RS256' | 'PS256' | 'ES256' | 'EdDSA', SigningKey> = {
    RS256: makeKey('RS256'),
    PS256: makeKey('PS256'),
    ES256: makeKey('ES256'),
    EdDSA: makeKey('EdDSA'),
  }
  /** Paths that were asked for, in order. */
  readonly requests: string[] = []
  /** The keys to publish; all of `keys` unless replaced. */
  published: unknown[] = Object.values(this.keys).map(({ jwk }) => jwk)
  /** Answers instead of the issuer when set; returns false to leave the request to it. */
  override: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined
  readonly #path: string
  readonly #server = createServer((request, response) => this.#answer(request, response))

  private constructor(path: string) {
    this.#path = path
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#path}`
  }

  /** The path is what the issuer's name has after the port, such as `/realms/bank`. */
  static async start(port = 0, path = ''): Promise<TestIssuer> {
    const issuer = new TestIssuer(path)
    await new Promise<void>((resolve) => issuer.#server.listen(port, '127.0.0.1', resolve))
    return issuer
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(request.url as string)
    if (this.override?.(request, response) === true) return
    const body =
      request.url === `${this.#path.replace(/\/$/, '')}/.well-known/openid-configuration`
        ? { issuer: this.url, jwks_uri: new URL('/jwks', this.url).href }
        : request.url === '/jwks'
          ? { keys: this.published }
          : undefined
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body ?? {}))
  }
}
