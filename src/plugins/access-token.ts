import { hash } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { LRUCache } from 'lru-cache'
import type { AccessPolicy } from '../core/access-policy.js'
import { type AccessToken, type TokenExpectations, validateAccessToken } from '../core/access-token.js'
import type { Clock } from '../core/clock.js'
import { isCanonicalCompactJwt, isUtf8Jwt, readJoseHeader } from '../core/compact-jwt.js'
import { readCredentials, readFields, type TokenScheme } from '../core/credentials.js'
import { Refusal } from '../core/refusal.js'
import { type TokenProfileName, toStandardClaims } from '../core/token-profile.js'
import type { KeySource } from '../keys/key-source.js'
import { createDpopGuard, type DpopOptions } from './dpop-guard.js'
import { chooseJwtDecorators } from './jwt-decorators.js'

export interface AccessTokenOptions extends TokenExpectations {
  /** JWS algorithms to accept, by exact name. */
  algorithms: readonly string[]
  /** The shape of the issuer's tokens; `rfc9068` unless told otherwise. */
  profile?: TokenProfileName
  keySource: KeySource
  clock: Clock
  /** Takes tokens that are bound to a key (RFC 9449). Left out: DPoP is no scheme of ours, and such tokens are refused. */
  dpop?: DpopOptions | undefined
  /**
   * The certificate that the client authenticated with on its TLS connection, in DER, and undefined when it has none; the caller vouches
   * for it. Left out: tokens that are bound to a certificate (RFC 8705 §3) are refused.
   */
  clientCertificate?: ((request: FastifyRequest) => Uint8Array | undefined) | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's access token, once verified; null on public routes. */
    accessToken: AccessToken | null
    /** The scheme of the caller's credentials; null on public routes and for credentials that are not ours. */
    tokenScheme: TokenScheme | null
    /** The token's text while it is being verified. */
    bearerToken: string | null
  }
}

interface VerifiedToken {
  /** The whole value of the Authorization field. */
  authorization: string
  scheme: TokenScheme
  text: string
  accessToken: AccessToken
  /** The keys' epoch when it was verified. */
  keyEpoch: number | undefined
}

const maxVerifiedTokens = 10_000
/** The last characters of the field are the signature's: enough to find a token; the whole is compared after. */
const cacheKeyLength = 43

/**
 * Authenticates callers of protected routes by access token (RFC 9068), as a bearer (RFC 6750) or with proof of the key or certificate
 * that it is bound to (RFC 9449, RFC 8705), before the body is read. A token not seen before goes through `request.jwtVerify`
 * with the issuer's key for its kid, then through `validateAccessToken`. Tokens verified before are found by their whole Authorization
 * field, as long as they live and the keys stay the same; what they are bound to is proven every time. Where a route uses a token up, it
 * is remembered only when it comes back spent, so that a replay costs no verification. Does not look at scopes. Refuses with
 * `Refusal` a token that is missing, not valid or not proven, and with `KeysUnavailable` when that cannot be known. One registration
 * knows one issuer: several issuers get a context each, beside each other, with routes of their own.
 */
export default fp(
  async (app: FastifyInstance, options: AccessTokenOptions) => {
    const { algorithms, profile = 'rfc9068', keySource, clock, leewaySeconds, dpop, clientCertificate } = options
    const proveKey = dpop === undefined ? undefined : createDpopGuard(dpop, clock)
    const verifiedTokens = new LRUCache<string, VerifiedToken>({ max: maxVerifiedTokens })
    /** Verified for this request, to be used up by it. */
    const tokensToSpend = new WeakMap<FastifyRequest, VerifiedToken>()

    app.decorateRequest('accessToken', null)
    app.decorateRequest('tokenScheme', null)
    app.decorateRequest('bearerToken', null)
    const jwtDecorators = chooseJwtDecorators(app)
    await app.register(fastifyJwt, {
      ...jwtDecorators.options,
      decode: { complete: true },
      // The same PEM text for the same key, so that @fastify/jwt keeps one verifier for it instead of parsing the key anew.
      secret: async (_request: FastifyRequest, decoded: unknown) => findKey((decoded as { header: unknown }).header),
      verify: {
        algorithms: [...algorithms] as never,
        extractToken: (request: FastifyRequest) => request.bearerToken as string,
        // Times are validated below, by the injected clock and as strictly as RFC 7519 asks.
        ignoreExpiration: true,
        ignoreNotBefore: true,
      },
    })

    app.addHook('onRequest', (request, reply, done) => {
      const { access } = request.routeOptions.config
      if (typeof access !== 'object') return done()
      const known = findVerified(request)
      if (known === undefined || known.scheme === 'DPoP' || known.accessToken.confirmation !== undefined)
        return authenticate(request, reply, { access, known })
      // The hot path: nothing to wait for.
      request.tokenScheme = known.scheme
      request.accessToken = known.accessToken
      done()
    })

    app.addHook('onResponse', (request, reply, done) => {
      const spent = reply.problem === 'token-already-used' ? tokensToSpend.get(request) : undefined
      if (spent !== undefined) remember(spent)
      done()
    })

    function findVerified(request: FastifyRequest): VerifiedToken | undefined {
      const [authorization, another] = readFields(request.raw.rawHeaders, 'authorization')
      if (authorization === undefined || another !== undefined || hasTokenInQuery(request)) return undefined
      const verified = verifiedTokens.get(authorization.slice(-cacheKeyLength))
      if (verified?.authorization !== authorization || verified.keyEpoch !== keySource.epoch) return undefined
      const alive = clock.nowMs() < (verified.accessToken.expiresAtSeconds + leewaySeconds) * 1000
      return alive ? verified : undefined
    }

    function remember(verified: VerifiedToken): void {
      const { authorization, keyEpoch } = verified
      if (keyEpoch !== undefined) verifiedTokens.set(authorization.slice(-cacheKeyLength), verified)
    }

    async function authenticate(
      request: FastifyRequest,
      reply: FastifyReply,
      { access, known }: { access: AccessPolicy; known: VerifiedToken | undefined },
    ): Promise<void> {
      const verified = known ?? (await verifyCredentials(request))
      request.tokenScheme = verified.scheme
      await expectProof(request, reply, verified)
      request.accessToken = verified.accessToken
      if (known !== undefined) return
      if (access.singleUse === true && verified.accessToken.scopes.has(access.scope))
        tokensToSpend.set(request, verified)
      else remember(verified)
    }

    async function verifyCredentials(request: FastifyRequest): Promise<VerifiedToken> {
      const { rawHeaders } = request.raw
      const tokenInQuery = hasTokenInQuery(request)
      const credentials = readCredentials(rawHeaders, { tokenInQuery, dpop: dpop !== undefined })
      if (credentials.kind === 'none') throw new Refusal('missing-token')
      const { scheme } = credentials
      request.tokenScheme = scheme
      if (credentials.kind === 'malformed') throw new Refusal('invalid-request')
      if (scheme === 'Bearer' && dpop?.mode === 'require') throw new Refusal('dpop-required')
      const { token: text } = credentials
      // Read before the keys are used: what they verify while they are being replaced belongs to the epoch that ends.
      const keyEpoch = keySource.epoch
      const accessToken = await verify(request, text)
      // As it came: whoever changes `request.headers` does not change what was verified.
      const [authorization] = readFields(rawHeaders, 'authorization') as [string]
      return { authorization, scheme, text, accessToken, keyEpoch }
    }

    /** What the token is bound to is asked on every request: whoever has its text may not be who it was issued to. */
    async function expectProof(
      request: FastifyRequest,
      reply: FastifyReply,
      { scheme, text, accessToken }: VerifiedToken,
    ): Promise<void> {
      const { certificateThumbprint, keyThumbprint } = accessToken.confirmation ?? {}
      if (certificateThumbprint !== undefined) {
        const certificate = clientCertificate?.(request)
        if (certificate === undefined || hash('sha256', certificate, 'base64url') !== certificateThumbprint)
          throw new Refusal('token-binding-not-proven')
      }
      if (scheme === 'DPoP' && proveKey !== undefined) await proveKey({ request, reply, accessToken, tokenText: text })
      else if (keyThumbprint !== undefined) throw new Refusal('token-binding-not-proven')
    }

    async function findKey(header: unknown): Promise<string> {
      const joseHeader = readJoseHeader(header, algorithms, profile)
      const publicKey = joseHeader && (await keySource.publicKey(joseHeader))
      if (publicKey === undefined) throw new Refusal('invalid-token')
      return publicKey
    }

    async function verify(request: FastifyRequest, text: string): Promise<AccessToken> {
      if (!isCanonicalCompactJwt(text) || !isUtf8Jwt(text)) throw new Refusal('invalid-token')
      request.bearerToken = text
      const payload: object = await request[jwtDecorators.verify]<object>().catch(refuse)
      request.bearerToken = null
      const claims = toStandardClaims(payload as Record<string, unknown>, profile, text)
      const accessToken = validateAccessToken(claims, options, clock.nowMs())
      if (accessToken === 'invalid') throw new Refusal('invalid-token')
      if (accessToken === 'expired') throw new Refusal('expired-token')
      return accessToken
    }
  },
  { name: 'access-token', fastify: '5.x' },
)

function hasTokenInQuery({ query }: FastifyRequest): boolean {
  return Object.hasOwn(query as object, 'access_token')
}

/** Whatever the JWT packages find wrong with a token makes it invalid; everything else is not the token's fault. */
function refuse(error: unknown): never {
  const code = String((error as { code?: unknown }).code)
  throw /^(?:FAST_JWT|FST_JWT)_/.test(code) ? new Refusal('invalid-token', { cause: error }) : error
}
