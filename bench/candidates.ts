import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acr } from './mint.js'
import { isInstalled, nodeCommand } from './processes.js'
import { audience, type World } from './world.js'

/** A server that is measured: how to start it in a world, and what it needs. */
export interface Candidate {
  name: string
  /** Whether it must refuse a forged token. */
  authenticates: boolean
  /** What the detail of its problem contains when a signature is forged. */
  forgedDetail?: string
  command: (world: World, port: number) => string[]
  environment?: (world: World) => Record<string, string>
  /** Answers 200 when it is ready; left out: whatever it answers will do. */
  readyPath?: string
  /** Why it cannot run on this machine; undefined when it can. */
  lacks?: () => string | undefined
}

const builtIn = (name: string) => () => nodeCommand(`.build/bench/candidates/${name}.js`)
const peer = (name: string) => ({
  command: () => nodeCommand(`bench/candidates/${name}.mjs`),
  lacks: () => (existsSync(`bench/node_modules/${name}`) ? undefined : 'npm ci --prefix bench'),
})

/** As it ships: the start script's command, every default, the ledger in a SQLite file. */
export const stepgate = makeStepgate()

export function makeStepgate(name = 'stepgate', more: Record<string, string> = {}): Candidate {
  return {
    name,
    authenticates: true,
    forgedDetail: 'invalid',
    command: () => nodeCommand('dist/server.js'),
    environment: ({ accountsFile }) => ({
      PUBLIC_URL: audience,
      STEP_UP_ACR_VALUES: acr,
      ACCOUNTS_FILE: accountsFile,
      ...more,
    }),
    readyPath: '/readyz',
  }
}

export const bareStatic: Candidate = {
  name: 'bare Fastify, static answer',
  authenticates: false,
  command: builtIn('bare'),
  environment: ({ accounts }) => ({ STATIC_ANSWER: JSON.stringify(accounts) }),
}

export const bareQuery: Candidate = {
  name: 'bare Fastify, same query',
  authenticates: false,
  command: builtIn('bare'),
}

/** Without the grouping of stepgate's ledger. */
export const bareSingleQuery: Candidate = {
  name: 'bare Fastify, a statement a request through libsql',
  authenticates: false,
  command: builtIn('bare'),
  environment: () => ({ SINGLE_QUERY: 'true' }),
}

export const bareQueryVerify: Candidate = {
  name: 'bare Fastify, same query, one crypto.verify',
  authenticates: true,
  command: builtIn('bare'),
  environment: ({ issuer }) => ({ VERIFY_KEYS: JSON.stringify([issuer.publicKeyPem]) }),
}

export const barePost: Candidate = { ...bareStatic, name: 'bare Fastify, POST' }

export const barePostVerify: Candidate = {
  ...barePost,
  name: 'bare Fastify, POST, one crypto.verify',
  authenticates: true,
  environment: (world) => ({ ...bareStatic.environment?.(world), ...bareQueryVerify.environment?.(world) }),
}

export const haproxy: Candidate = {
  name: 'HAProxy jwt_verify, static answer',
  authenticates: true,
  command: (world, port) => ['haproxy', '-db', '-q', '-f', configureHaproxy(world, port)],
  lacks: () => (isInstalled('haproxy') ? undefined : 'apt-get install haproxy'),
}

/** What others use to verify access tokens, each as its own documentation shows it, in front of the same query. */
export const peers: readonly Candidate[] = [
  { name: '@fastify/jwt + get-jwks', authenticates: true, command: builtIn('fastify-jwt') },
  { name: 'fastify-jwt-jwks', authenticates: true, ...peer('fastify-jwt-jwks') },
  {
    name: 'fastify-jwt-jwks, cache: true',
    authenticates: true,
    ...peer('fastify-jwt-jwks'),
    environment: () => ({ CACHE: 'true' }),
  },
  { name: 'express-oauth2-jwt-bearer in Express', authenticates: true, ...peer('express-oauth2-jwt-bearer') },
  { name: 'jose in bare Fastify', authenticates: true, command: builtIn('jose') },
]

/** What every candidate is told. */
export function commonEnvironment(world: World, port: number): Record<string, string> {
  return {
    NODE_ENV: 'production',
    PORT: String(port),
    DATA_DIR: world.dataFolder,
    ISSUER: world.issuer.url,
    JWKS_URI: world.issuer.jwksUri,
    AUDIENCE: audience,
    ALGORITHM: world.algorithm,
    SUBJECT: world.subject,
  }
}

/** After "Validating and authorizing with JWT" of HAProxy's documentation, with one thread. */
function configureHaproxy({ algorithm, issuer, accounts, folder }: World, port: number): string {
  const keyFile = join(folder, 'issuer.pem')
  const answerFile = join(folder, 'accounts-answer.json')
  const configFile = join(folder, `haproxy-${port}.cfg`)
  writeFileSync(keyFile, issuer.publicKeyPem)
  writeFileSync(answerFile, JSON.stringify(accounts))
  const text = `
global
  nbthread 1
defaults
  mode http
  timeout client 30s
  timeout http-request 10s
frontend api
  bind 127.0.0.1:${port}
  http-request deny deny_status 401 unless { req.hdr(authorization) -m found }
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request set-var(txn.iss) http_auth_bearer,jwt_payload_query('$.iss')
  http-request set-var(txn.aud) http_auth_bearer,jwt_payload_query('$.aud')
  http-request set-var(txn.scope) http_auth_bearer,jwt_payload_query('$.scope')
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless { var(txn.alg) -m str ${algorithm} }
  http-request deny deny_status 401 unless { var(txn.iss) -m str ${issuer.url} }
  http-request deny deny_status 401 unless { var(txn.aud) -m str ${audience} }
  http-request deny deny_status 401 unless { http_auth_bearer,jwt_verify(txn.alg,"${keyFile}") -m int 1 }
  http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
  http-request deny deny_status 403 unless { var(txn.scope) -m sub read:accounts }
  http-request return status 200 content-type "application/json; charset=utf-8" file ${answerFile}
`
  writeFileSync(configFile, text)
  return configFile
}
