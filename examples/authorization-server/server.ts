import { generateKeyPairSync, randomBytes, type ScryptOptions } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { ClientMetadata } from 'oidc-provider'
import { type Clock, systemClock } from './clock.js'
import { interactionPages, type Middleware } from './interactions.js'
import { providerConfiguration } from './provider.js'
import { buildProvider } from './quiet-oidc-provider.js'
import type { SecondFactor } from './second-factor.js'
import { acceptStepUpParameters } from './step-up-parameters.js'
import { createTotpFactor } from './totp.js'
import { createUserStore, defaultPasswordCost, type UserSeed } from './users.js'

/** What to start. */
export interface AuthorizationServerOptions {
  /** 0 takes a free one. */
  readonly port: number
  /** An address of this machine: "127.0.0.1" (the default), another one in 127.0.0.0/8, or "::1". */
  readonly host?: string
  /**
   * Where browsers and the API find it, when that is a proxy on this machine: an origin, https or http on loopback. Behind
   * https the proxy must say so in X-Forwarded-Proto. Default: the address that it listens on.
   */
  readonly issuer?: string
  /** The API's identifier, which becomes the `aud` of the access tokens: its PUBLIC_URL. */
  readonly resource: string
  readonly users: readonly UserSeed[]
  readonly clients: readonly ClientMetadata[]
  readonly clock?: Clock
  /** Time-based one-time passwords unless another one is given. */
  readonly secondFactor?: SecondFactor
  /** What a password hash costs; tests make it cheap. */
  readonly passwordCost?: ScryptOptions
}

/** A running authorization server. */
export interface AuthorizationServer {
  readonly issuer: string
  /** Stops listening and drops every connection. Sessions, codes and keys are gone then. */
  close(): Promise<void>
}

/**
 * Starts an authorization server for demonstrations and tests: sign-in, second factor, single sign-on, and tokens by the
 * code flow only. It speaks plain HTTP and keeps everything in memory, so it serves loopback and nothing else. Its
 * signing key is made at start. Rejects with a RangeError for a host that is not loopback or an issuer that is no safe
 * origin, with EADDRINUSE for a port that is taken, and with a TypeError for client metadata that is wrong.
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const {
    port,
    host = '127.0.0.1',
    resource,
    clients,
    clock = systemClock,
    passwordCost = defaultPasswordCost,
  } = options
  if (!isLoopback(host)) throw new RangeError(`${host} is not a loopback address`)
  if (options.issuer !== undefined && !isPublicAddress(options.issuer)) {
    throw new RangeError(`${options.issuer} is no origin with https, or http on loopback`)
  }
  const users = await createUserStore(options.users, { clock, passwordCost })
  const secrets = options.users.flatMap(({ username, totpSecret }) =>
    totpSecret === undefined ? [] : [[username, totpSecret] as const],
  )
  const secondFactor =
    options.secondFactor ?? createTotpFactor({ secrets: new Map(secrets), serviceName: 'Stepgate Bank', clock })
  const signingKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  const cookieKey = randomBytes(32).toString('base64url')

  // The issuer's name may hold the port, so the port comes first.
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 })
  server.listen(port, host)
  await once(server, 'listening')
  const { port: boundPort } = server.address() as AddressInfo
  const issuer = options.issuer ?? `http://${isIPv6(host) ? `[${host}]` : host}:${boundPort}`
  try {
    const provider = buildProvider(issuer, providerConfiguration({ resource, clients, users, signingKey, cookieKey }))
    // Behind TLS only the proxy knows that a request came by https, and links and cookies depend on it.
    provider.proxy = issuer.startsWith('https:')
    // oidc-provider looks at a client when it is first used, which would show a fault to the user and not to us.
    for (const { client_id: clientId } of clients) {
      await provider.Client.find(clientId).catch((error: { error_description?: string }) => {
        throw new TypeError(`client ${clientId}: ${error.error_description}`, { cause: error })
      })
    }
    provider.use(onlyFor(issuer))
    provider.use(acceptStepUpParameters)
    provider.use(interactionPages(provider, { users, secondFactor, clock }))
    server.on('request', provider.callback())
  } catch (error) {
    await close(server)
    throw error
  }
  return { issuer, close: () => close(server) }
}

/** Whether an address can only be this machine. Names are not taken, since the issuer must be one certain address. */
export function isLoopback(host: string): boolean {
  return host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** Whether an address can be the issuer's: an origin, whose scheme is https, or http where the host is loopback. */
export function isPublicAddress(address: string): boolean {
  if (!URL.canParse(address)) return false
  const { origin, protocol, hostname } = new URL(address)
  return (
    origin === address &&
    (protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname.replace(/[[\]]/g, ''))))
  )
}

/**
 * Answers only to the issuer's address: links are built from scheme and Host header, and a page whose name was made to point
 * at this machine (DNS rebinding) must not get one.
 */
function onlyFor(issuer: string): Middleware {
  return (ctx, next) => {
    if (`${ctx.protocol}://${ctx.host}` === issuer) return next()
    ctx.status = 421
    ctx.body = `This server is ${issuer} and answers to no other name.\n`
    return undefined
  }
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}
