import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { z } from 'zod'
import { parseOpeningAccounts } from './core/opening-accounts.js'
import { isLoopbackHost, isTrustworthyUrl } from './core/trustworthy-url.js'

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const
const scopeClaims = ['scope', 'scp', 'permissions'] as const
const authenticationValue = /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/

/** One environment variable: a parser that returns undefined for what it does not take, and words for what it does. */
function variable<T>(expected: string, parse: (text: string) => T | undefined, show = quote) {
  return z.string().transform((text, context): T => {
    const value = parse(text)
    if (value === undefined) context.addIssue({ code: 'custom', message: `expected ${expected}, got ${show(text)}` })
    return value as T
  })
}

/** Values are cut and escaped, and one that holds user information is not shown at all. */
function quote(text: string): string {
  return text.includes('@') ? hide() : JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}

/** For values that may hold a password in any form. */
function hide(): string {
  return '(not shown)'
}

const integer = (least: number, most: number) =>
  variable(`a whole number from ${least} to ${most}`, (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : undefined
    return value !== undefined && value >= least && value <= most ? value : undefined
  })

const oneOf = <const T extends string>(...values: T[]) =>
  variable(`one of ${values.join(', ')}`, (text) => values.find((value) => value === text))

const listOf = <T>(expected: string, parse: (member: string) => T | undefined) =>
  variable(`a space-separated list of ${expected}`, (text) => {
    const members = text
      .split(/ +/)
      .filter((member) => member !== '')
      .map(parse)
    return members.every((member) => member !== undefined) && members.length > 0 ? (members as T[]) : undefined
  })

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) && !/\s/.test(text) ? new URL(text) : undefined
}

function parseOrigin(text: string): string | undefined {
  const url = parseUrl(text)
  return url !== undefined && /^https?:$/.test(url.protocol) && url.origin === text ? text : undefined
}

function parseIssuerUrl(text: string): string | undefined {
  const url = parseUrl(text)
  return url && isTrustworthyUrl(url) && !/[?#@]/.test(text) ? text : undefined
}

function parseKeysUrl(text: string): string | undefined {
  const url = parseUrl(text)
  return url && isTrustworthyUrl(url) && !/[#@]/.test(text) ? text : undefined
}

function parseDatabaseUrl(text: string): string | undefined {
  const url = parseUrl(text)
  return url && /^postgres(?:ql)?:$/.test(url.protocol) && url.hostname !== '' && url.pathname.length > 1
    ? text
    : undefined
}

function parseRedisUrl(text: string): string | undefined {
  const url = parseUrl(text)
  return url && /^rediss?:$/.test(url.protocol) && url.hostname !== '' && /^\/?\d*$/.test(url.pathname)
    ? text
    : undefined
}

const accountsFile = z.string().transform((path, context) => {
  const parsed = readAccounts(path)
  if ('accounts' in parsed) return parsed.accounts
  for (const message of parsed.faults) context.addIssue({ code: 'custom', message })
  return z.NEVER
})

function readAccounts(path: string): ReturnType<typeof parseOpeningAccounts> {
  try {
    return parseOpeningAccounts(readFileSync(path, 'utf8'))
  } catch (error) {
    return { faults: [`expected a readable file, got ${quote(path)} (${(error as NodeJS.ErrnoException).code})`] }
  }
}

const host = variable('a host name or IP address', (text) =>
  isIP(text) !== 0 || /^[a-z0-9.-]{1,253}$/i.test(text) ? text : undefined,
)

const environmentSchema = z
  .object({
    HOST: host.default('127.0.0.1'),
    PORT: integer(1, 65_535).default(3000),
    PUBLIC_URL: variable(
      'an origin such as https://api.example.com, without path, query or trailing slash',
      parseOrigin,
    ).optional(),
    ISSUER: variable('an https address (http on loopback) without query, exactly as in the tokens', parseIssuerUrl),
    JWKS_URI: variable('an https address (http on loopback)', parseKeysUrl).optional(),
    JWKS_MAX_STALE: integer(0, 31_536_000).default(86_400),
    AUDIENCE: variable('1 to 255 visible ASCII characters', (text) =>
      /^[\x21-\x7e]{1,255}$/.test(text) ? text : undefined,
    ),
    TOKEN_PROFILE: oneOf('rfc9068', 'auth0', 'okta').default('rfc9068'),
    SCOPE_CLAIMS: listOf(scopeClaims.join(', '), (member) => scopeClaims.find((claim) => claim === member)).default([
      'scope',
    ]),
    ALGORITHMS: listOf(algorithms.join(', '), (member) => algorithms.find((name) => name === member)).default([
      'RS256',
      'PS256',
      'ES256',
      'EdDSA',
    ]),
    CLOCK_LEEWAY: integer(0, 60).default(5),
    STEP_UP_ACR_VALUES: listOf('acr values', parseAuthenticationValue).default([]),
    STEP_UP_AMR: listOf('amr values', parseAuthenticationValue).default([]),
    STEP_UP_CLAIM: variable('claim=value, such as authentication_level=mfa', (text) => {
      const [, name, value] = /^([^=]{1,255})=(.{1,255})$/.exec(text) ?? []
      return name === undefined || value === undefined ? undefined : { name, value }
    }).optional(),
    STEP_UP_MAX_AGE: integer(0, 31_536_000).optional(),
    SINGLE_USE_MAX_LIFETIME: integer(1, 86_400).default(600),
    REPLAY_CACHE_SIZE: integer(1, 10_000_000).default(100_000),
    REDIS_URL: variable(
      'redis:// or rediss:// with a host, such as redis://127.0.0.1:6379',
      parseRedisUrl,
      hide,
    ).optional(),
    DATABASE_URL: variable(
      'postgres:// with host and database, such as postgres://stepgate@127.0.0.1/stepgate',
      parseDatabaseUrl,
      hide,
    ).optional(),
    DATA_DIR: z.string().default('./data'),
    ACCOUNTS_FILE: accountsFile.default([]),
    CORS_ORIGINS: listOf('exact origins such as https://bank.example.com ("*" is refused)', parseOrigin).default([]),
    DPOP: oneOf('off', 'accept', 'require').default('accept'),
    DPOP_NONCE: oneOf('on', 'off').default('off'),
    TRANSACTION_BINDING: oneOf('off', 'accept', 'require').default('accept'),
    RATE_LIMIT: integer(0, 1_000_000).default(0),
    ADMIN_PORT: integer(1, 65_535).optional(),
    WORKERS: integer(1, 64).default(1),
    LOG_LEVEL: oneOf(...logLevels).default('info'),
  })
  .refine(({ HOST, PUBLIC_URL }) => PUBLIC_URL !== undefined || typeof HOST !== 'string' || isLoopbackHost(HOST), {
    path: ['PUBLIC_URL'],
    error: 'required when HOST is not loopback: the origin that clients use',
    when: () => true,
  })
  .refine(({ PORT, ADMIN_PORT }) => ADMIN_PORT === undefined || PORT !== ADMIN_PORT, {
    path: ['ADMIN_PORT'],
    error: 'expected another port than PORT',
    when: () => true,
  })
  .transform((env) => ({
    ...env,
    PUBLIC_URL: env.PUBLIC_URL ?? `http://${isIP(env.HOST) === 6 ? `[${env.HOST}]` : env.HOST}:${env.PORT}`,
  }))

function parseAuthenticationValue(text: string): string | undefined {
  return authenticationValue.test(text) ? text : undefined
}

/** The configuration: the environment's variables, parsed, with every default filled in. Frozen. */
export type Config = Readonly<z.infer<typeof environmentSchema>>

/**
 * Reads the configuration from environment variables; one that is empty counts as unset. Returns every fault at once,
 * as `NAME: what is wrong`, and never a secret. Does not touch network or data folder, but reads `ACCOUNTS_FILE`.
 */
export function readConfig(
  environment: NodeJS.ProcessEnv,
): { config: Config; warnings: string[] } | { faults: string[] } {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const result = environmentSchema.safeParse(given)
  if (result.success) return { config: Object.freeze(result.data), warnings: findWarnings(result.data) }
  return {
    faults: result.error.issues.map(({ path, message, code }) => {
      const name = String(path[0])
      return `${name}: ${code === 'invalid_type' && given[name] === undefined ? 'required' : message}`
    }),
  }
}

function findWarnings(config: Config): string[] {
  const warnings: string[] = []
  if (config.STEP_UP_ACR_VALUES.length === 0 && (config.STEP_UP_AMR.length > 0 || config.STEP_UP_CLAIM !== undefined)) {
    warnings.push('STEP_UP_AMR and STEP_UP_CLAIM cannot be asked for in a challenge: set STEP_UP_ACR_VALUES as well')
  }
  if (config.AUDIENCE !== config.PUBLIC_URL) {
    warnings.push('AUDIENCE differs from PUBLIC_URL: clients that follow RFC 9728 will ask for tokens for PUBLIC_URL')
  }
  if (config.SCOPE_CLAIMS.includes('permissions')) {
    warnings.push(
      'SCOPE_CLAIMS has permissions, where Auth0 lists what a user could do, not what the client was granted',
    )
  }
  if (config.WORKERS > 1 && config.REDIS_URL === undefined && config.DPOP !== 'off') {
    warnings.push(
      'WORKERS without REDIS_URL: DPoP proofs are remembered per process, so each worker accepts a proof once',
    )
  }
  if (config.DPOP === 'off' && config.DPOP_NONCE === 'on') {
    warnings.push('DPOP_NONCE does nothing while DPOP is off')
  }
  return warnings
}
