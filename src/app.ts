import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, LogController } from 'fastify'
import type { Config } from './config.js'
import type { Clock } from './core/clock.js'
import { httpLimits, nodeHttpLimits } from './core/http-limits.js'
import type { KeySource } from './keys/key-source.js'
import type { Ledger } from './ledger/ledger.js'
import accessPolicy from './plugins/access-policy.js'
import accessToken from './plugins/access-token.js'
import { answerConnectionError } from './plugins/connection-errors.js'
import cors, { corsFields } from './plugins/cors.js'
import httpConformance from './plugins/http-conformance.js'
import idempotency from './plugins/idempotency.js'
import jsonBody from './plugins/json-body.js'
import notFound from './plugins/not-found.js'
import openapi from './plugins/openapi.js'
import pipelining from './plugins/pipelining.js'
import problem, { sendRefusal, toRefusal } from './plugins/problem.js'
import rateLimit from './plugins/rate-limit.js'
import requestLog, { loggerOptions, logRequestEnd } from './plugins/request-log.js'
import responseHeaders, { fixedHeaders } from './plugins/response-headers.js'
import singleUse from './plugins/single-use.js'
import { zodSchemaController } from './plugins/zod-validation.js'
import { maxProofs, ProofReplayStore } from './replay/proof-replay-store.js'
import type { ReplayStore } from './replay/replay-store.js'
import { accountRoutes } from './routes/accounts.js'
import { healthRoutes } from './routes/health.js'
import { metadataRoutes } from './routes/metadata.js'
import { problemRoutes } from './routes/problems.js'
import { transferRoutes } from './routes/transfers.js'

/** The parts that hold state or reach outside; the caller opens them and closes them after the app. */
export interface AppParts {
  clock: Clock
  keySource: KeySource
  ledger: Ledger
  replayStore: ReplayStore
  /** For DPoP proofs; this process's memory when left out. */
  proofReplayStore?: ReplayStore
}

/** Builds the resource server: the one place where parts meet, in the order in which a request passes them. Does not listen. */
export async function buildApp(
  config: Config,
  { clock, keySource, ledger, replayStore, proofReplayStore }: AppParts,
): Promise<FastifyInstance> {
  const publicUrl = config.PUBLIC_URL
  const leewaySeconds = config.CLOCK_LEEWAY
  const transactionBinding = config.TRANSACTION_BINDING
  const problemOptions = {
    publicUrl,
    stepUp: { acrValues: config.STEP_UP_ACR_VALUES, maxAgeSeconds: config.STEP_UP_MAX_AGE },
    dpop: config.DPOP,
  }
  const app = Fastify({
    logger: loggerOptions(config.LOG_LEVEL),
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: httpLimits.bodyBytes,
    requestTimeout: httpLimits.requestTimeoutMs,
    connectionTimeout: httpLimits.silenceTimeoutMs,
    keepAliveTimeout: httpLimits.keepAliveTimeoutMs,
    maxRequestsPerSocket: httpLimits.requestsPerConnection,
    routerOptions: { maxParamLength: httpLimits.pathParameterLength },
    http: { ...nodeHttpLimits, requireHostHeader: false },
    return503OnClosing: false,
    schemaController: zodSchemaController,
    frameworkErrors: (error, request, reply) => {
      const fields = { ...fixedHeaders(publicUrl), ...corsFields(request.headers.origin, config.CORS_ORIGINS) }
      sendRefusal(toRefusal(error), { request, reply: reply.headers(fields), options: problemOptions })
      logRequestEnd(request, reply)
    },
    clientErrorHandler: (error: NodeJS.ErrnoException, socket: Socket) =>
      answerConnectionError(error, socket, publicUrl),
  })
  app.server.maxConnections = httpLimits.connections
  // The size of all header fields is limited; their number must not be, or Node would drop what comes last.
  app.server.maxHeadersCount = 0
  await app.register(pipelining)
  await app.register(problem, problemOptions)
  await app.register(requestLog)
  await app.register(responseHeaders, { publicUrl })
  await app.register(httpConformance, { publicUrl })
  await app.register(jsonBody)
  await app.register(cors, { origins: config.CORS_ORIGINS })
  await app.register(notFound)
  await app.register(accessToken, {
    issuer: config.ISSUER,
    audience: config.AUDIENCE,
    algorithms: config.ALGORITHMS,
    profile: config.TOKEN_PROFILE,
    scopeClaims: config.SCOPE_CLAIMS,
    issuerClaim: config.STEP_UP_CLAIM?.name,
    leewaySeconds,
    keySource,
    clock,
    dpop:
      config.DPOP === 'off'
        ? undefined
        : {
            mode: config.DPOP,
            publicUrl,
            replayStore: proofReplayStore ?? new ProofReplayStore({ maxEntries: maxProofs, clock }),
            nonceSecret: config.DPOP_NONCE === 'on' ? () => ledger.sharedSecret('dpop-nonce') : undefined,
          },
  })
  await app.register(rateLimit, { requestsPerMinute: config.RATE_LIMIT })
  await app.register(accessPolicy, {
    userAuthentication: {
      acrValues: config.STEP_UP_ACR_VALUES,
      amr: config.STEP_UP_AMR,
      claim: config.STEP_UP_CLAIM,
      maxAgeSeconds: config.STEP_UP_MAX_AGE,
    },
    leewaySeconds,
    singleUseMaxLifetimeSeconds: config.SINGLE_USE_MAX_LIFETIME,
    transactionBinding: transactionBinding === 'off' ? undefined : { mode: transactionBinding, location: publicUrl },
    clock,
  })
  await app.register(idempotency)
  await app.register(singleUse, { replayStore, clock, leewaySeconds, behind: 'ledger' })
  await app.register(openapi)

  await app.register(metadataRoutes, {
    publicUrl,
    issuer: config.ISSUER,
    scopes: ['read:accounts', 'transfer:funds'],
    authorizationDetailsTypes: transactionBinding === 'off' ? [] : ['payment_initiation'],
    dpop: config.DPOP,
  })
  await app.register(healthRoutes, {
    keysState: () => keySource.state,
    ledger,
    replayStoreReachable: () => replayStore.isReachable,
  })
  await app.register(problemRoutes)
  await app.register(accountRoutes, { ledger })
  await app.register(transferRoutes, { ledger, clock, leewaySeconds })
  return app
}
