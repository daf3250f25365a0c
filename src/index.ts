/**
 * What other Fastify teams import: the plugins in the order in which a request passes them, the stores, and the types.
 * See the README for a worked registration.
 */
export { type AppParts, buildApp } from './app.js'
export { type Config, readConfig } from './config.js'
export type { AccessPolicy, RouteAccess } from './core/access-policy.js'
export type { AccessToken } from './core/access-token.js'
export { type Challenge, serializeChallenge } from './core/challenge.js'
export { type Clock, systemClock } from './core/clock.js'
export { type ProblemDocument, problemDocumentSchema } from './core/problem-document.js'
export { type Problem, type ProblemName, problems } from './core/problems.js'
export { Refusal, type RefusalDetails } from './core/refusal.js'
export { JwksKeySource, type JwksKeySourceOptions, type KeySource, KeysUnavailable } from './keys/key-source.js'
export { type Ledger, LedgerUnavailable, OutcomeUnknown } from './ledger/ledger.js'
export { SqliteLedger } from './ledger/sqlite/sqlite-ledger.js'
export { type AccessPolicyOptions, default as accessPolicy } from './plugins/access-policy.js'
export { type AccessTokenOptions, default as accessToken } from './plugins/access-token.js'
export { default as idempotency } from './plugins/idempotency.js'
export { default as problem, type ProblemOptions } from './plugins/problem.js'
export { default as singleUse, type SingleUseOptions } from './plugins/single-use.js'
export { LruReplayStore, type LruReplayStoreOptions } from './replay/lru-replay-store.js'
export { type ReplayOutcome, type ReplayStore, replayKey } from './replay/replay-store.js'
