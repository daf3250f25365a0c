/**
 * What other Fastify teams import: the plugins, the stores, and the types.
 * See the README for a worked registration.
 */
export { type AppParts, buildApp } from './app.js'
export { type Config, readConfig } from './config.js'
export type { AccessPolicy, RouteAccess } from './core/access-policy.js'
export type { AccessToken } from './core/access-token.js'
export { type Challenge, serializeChallenge } from './core/challenge.js'
export { type Clock, systemClock } from './core/clock.js'
export type { Confirmation } from './core/confirmation.js'
export type { TokenScheme } from './core/credentials.js'
export { type IdTokenClaims, type IdTokenPolicy, isIdTokenSufficient } from './core/id-token.js'
export { type ProblemDocument, problemDocumentSchema } from './core/problem-document.js'
export { type Problem, type ProblemName, problems } from './core/problems.js'
export { Refusal, type RefusalDetails } from './core/refusal.js'
export { toReturnPath } from './core/return-path.js'
export type { TokenProfileName } from './core/token-profile.js'
export type { AuthorizationDetail, Payment, TransactionBinding } from './core/transaction-binding.js'
export type { UserAuthenticationRequirement } from './core/user-authentication.js'
export { JwksKeySource, type JwksKeySourceOptions, type KeySource, KeysUnavailable } from './keys/key-source.js'
export { type Ledger, LedgerUnavailable, OutcomeUnknown } from './ledger/ledger.js'
export { UnusableDatabase } from './ledger/postgres/faults.js'
export { PostgresLedger, type PostgresLedgerOptions } from './ledger/postgres/postgres-ledger.js'
export { SqliteLedger } from './ledger/sqlite/sqlite-ledger.js'
export { type AccessPolicyOptions, default as accessPolicy } from './plugins/access-policy.js'
export { type AccessTokenOptions, default as accessToken } from './plugins/access-token.js'
export type { DpopOptions } from './plugins/dpop-guard.js'
export { default as idempotency } from './plugins/idempotency.js'
export { default as notFound } from './plugins/not-found.js'
export { default as problem, type ProblemOptions } from './plugins/problem.js'
export {
  MultiFactorRequired,
  type RequireMultiFactorOptions,
  requireMultiFactor,
  type StepUpAttempt,
} from './plugins/require-multi-factor.js'
export { default as singleUse, type SingleUseOptions } from './plugins/single-use.js'
export { zodSchemaController } from './plugins/zod-validation.js'
export { LruReplayStore, type LruReplayStoreOptions } from './replay/lru-replay-store.js'
export { ProofReplayStore, type ProofReplayStoreOptions } from './replay/proof-replay-store.js'
export { RedisReplayStore, type RedisReplayStoreOptions } from './replay/redis-replay-store.js'
export { ReplayRings, type ReplayRingsOptions } from './replay/replay-rings.js'
export { type Claim, type ReplayOutcome, type ReplayStore, replayKey } from './replay/replay-store.js'
export { type MetadataRouteOptions, metadataRoutes } from './routes/metadata.js'
export { problemRoutes } from './routes/problems.js'
