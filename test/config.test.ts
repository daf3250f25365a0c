import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type Config, readConfig } from '#src/config.js'

const required = { ISSUER: 'https://issuer.example', AUDIENCE: 'http://127.0.0.1:3000' }

function read(environment: NodeJS.ProcessEnv): Config {
  const result = readConfig({ ...required, ...environment })
  if ('faults' in result) throw new Error(result.faults.join('; '))
  return result.config
}

function faultsOf(environment: NodeJS.ProcessEnv): string[] {
  const result = readConfig(environment)
  return 'faults' in result ? result.faults.toSorted() : []
}

t.test('the defaults', async (t) => {
  const expected: Config = {
    HOST: '127.0.0.1',
    PORT: 3000,
    PUBLIC_URL: 'http://127.0.0.1:3000',
    ISSUER: 'https://issuer.example',
    JWKS_MAX_STALE: 86_400,
    AUDIENCE: 'http://127.0.0.1:3000',
    TOKEN_PROFILE: 'rfc9068',
    SCOPE_CLAIMS: ['scope'],
    ALGORITHMS: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    CLOCK_LEEWAY: 5,
    STEP_UP_ACR_VALUES: [],
    STEP_UP_AMR: [],
    SINGLE_USE_MAX_LIFETIME: 600,
    REPLAY_CACHE_SIZE: 100_000,
    DATA_DIR: './data',
    ACCOUNTS_FILE: [],
    CORS_ORIGINS: [],
    DPOP: 'accept',
    DPOP_NONCE: 'off',
    TRANSACTION_BINDING: 'accept',
    RATE_LIMIT: 0,
    WORKERS: 1,
    LOG_LEVEL: 'info',
  }
  t.same(read({}), expected)
  t.ok(Object.isFrozen(read({})))
  const optional = [
    'PUBLIC_URL',
    'JWKS_URI',
    'STEP_UP_CLAIM',
    'STEP_UP_MAX_AGE',
    'ADMIN_PORT',
    'REDIS_URL',
    'DATABASE_URL',
  ]
  const empty = Object.fromEntries([...Object.keys(expected), ...optional].map((name) => [name, '']))
  t.same(read({ ...empty, ...required }), expected, 'a variable that is empty counts as unset')
  t.same(read({ PATH: '/bin', port: '1' }), expected, 'other variables are nobody’s business')
})

t.test('values', async (t) => {
  const cases: [keyof Config, string, unknown][] = [
    ['HOST', 'localhost', 'localhost'],
    ['HOST', '::1', '::1'],
    ['PORT', '1', 1],
    ['PORT', '65535', 65_535],
    ['PUBLIC_URL', 'https://api.example.com', 'https://api.example.com'],
    ['PUBLIC_URL', 'https://api.example.com:8443', 'https://api.example.com:8443'],
    ['PUBLIC_URL', 'http://[::1]:3000', 'http://[::1]:3000'],
    ['ISSUER', 'https://issuer.example/tenant/', 'https://issuer.example/tenant/'],
    ['ISSUER', 'http://127.0.0.1:9000', 'http://127.0.0.1:9000'],
    ['ISSUER', 'http://localhost:9000', 'http://localhost:9000'],
    ['JWKS_URI', 'https://keys.example/jwks?version=1', 'https://keys.example/jwks?version=1'],
    ['JWKS_MAX_STALE', '0', 0],
    ['JWKS_MAX_STALE', '31536000', 31_536_000],
    ['AUDIENCE', 'urn:bank', 'urn:bank'],
    ['AUDIENCE', 'x'.repeat(255), 'x'.repeat(255)],
    ['TOKEN_PROFILE', 'rfc9068', 'rfc9068'],
    ['TOKEN_PROFILE', 'auth0', 'auth0'],
    ['TOKEN_PROFILE', 'okta', 'okta'],
    ['SCOPE_CLAIMS', 'scope scp permissions', ['scope', 'scp', 'permissions']],
    ['ALGORITHMS', '  EdDSA   PS512 ', ['EdDSA', 'PS512']],
    ['CLOCK_LEEWAY', '0', 0],
    ['CLOCK_LEEWAY', '60', 60],
    ['STEP_UP_ACR_VALUES', 'gold urn:silver', ['gold', 'urn:silver']],
    ['STEP_UP_AMR', 'otp hwk', ['otp', 'hwk']],
    ['STEP_UP_CLAIM', 'authentication_level=mfa', { name: 'authentication_level', value: 'mfa' }],
    ['STEP_UP_CLAIM', 'https://x.example/level=a=b', { name: 'https://x.example/level', value: 'a=b' }],
    ['STEP_UP_MAX_AGE', '0', 0],
    ['SINGLE_USE_MAX_LIFETIME', '1', 1],
    ['REPLAY_CACHE_SIZE', '1', 1],
    ['DATA_DIR', '/var/lib/stepgate', '/var/lib/stepgate'],
    ['CORS_ORIGINS', 'https://a.example http://localhost:5173', ['https://a.example', 'http://localhost:5173']],
    ['DPOP', 'off', 'off'],
    ['DPOP', 'require', 'require'],
    ['DPOP_NONCE', 'on', 'on'],
    ['TRANSACTION_BINDING', 'off', 'off'],
    ['TRANSACTION_BINDING', 'require', 'require'],
    ['RATE_LIMIT', '600', 600],
    ['ADMIN_PORT', '9100', 9100],
    ['WORKERS', '64', 64],
    ['LOG_LEVEL', 'silent', 'silent'],
  ]
  for (const [name, text, value] of cases) t.same(read({ [name]: text })[name], value, `${name}=${text.slice(0, 40)}`)
})

t.test('each bad value gives one line that names what was given and what is expected', async (t) => {
  const notANumber = ['', 'x', '-1', '1.5', '1e3', '0x10', ' 1', '+1', '١', '9'.repeat(20)]
  const noOrigin = [
    '*',
    'null',
    'example.com',
    'ftp://a.example',
    'https://a.example/',
    'https://a.example/x',
    'https://A.example',
  ]
  const noHttps = [
    'x',
    'http://issuer.example',
    'ftp://issuer.example',
    'https://issuer.example#x',
    'https://a b',
    'https://',
  ]
  const cases: Record<string, string[]> = {
    HOST: ['a b', 'a_b', 'http://x', '::g', 'x'.repeat(254)],
    PORT: [...notANumber, '0', '65536'],
    PUBLIC_URL: [...noOrigin, 'https://a.example:443', 'https://a.example?x', 'https://a.example#x'],
    ISSUER: [...noHttps, 'https://issuer.example?x=1', 'http://localhost.example', '\thttps://issuer.example'],
    JWKS_URI: noHttps,
    AUDIENCE: ['a b', 'ä', 'x'.repeat(256)],
    TOKEN_PROFILE: ['Auth0', 'RFC9068', 'jwt'],
    SCOPE_CLAIMS: ['scopes', 'scope,scp', 'Scope', ' '],
    ALGORITHMS: ['none', 'HS256', 'es256', 'ES256 HS256', 'ES256,RS256', ' '],
    CLOCK_LEEWAY: [...notANumber, '61'],
    STEP_UP_ACR_VALUES: ['a"b', 'a\\b', 'ä', ' '],
    STEP_UP_AMR: ['a"b', ' '],
    STEP_UP_CLAIM: ['level', '=mfa', 'level=', `${'x'.repeat(256)}=y`, `x=${'y'.repeat(256)}`],
    STEP_UP_MAX_AGE: [...notANumber, '31536001'],
    SINGLE_USE_MAX_LIFETIME: [...notANumber, '0', '86401'],
    REPLAY_CACHE_SIZE: [...notANumber, '0', '10000001'],
    CORS_ORIGINS: [...noOrigin, 'https://a.example *', ' '],
    DPOP: ['on', 'OFF', 'accept require'],
    DPOP_NONCE: ['ON', 'accept'],
    TRANSACTION_BINDING: ['on', 'Require'],
    RATE_LIMIT: [...notANumber, '1000001'],
    ADMIN_PORT: [...notANumber, '0', '65536', '3000'],
    WORKERS: [...notANumber, '0', '65'],
    LOG_LEVEL: ['INFO', 'verbose'],
    JWKS_MAX_STALE: [...notANumber, '31536001'],
    REDIS_URL: [
      'localhost:6379',
      'http://cache',
      'redis://',
      'redis://cache/name',
      'redis://:secret@/0',
      'redis://a b',
    ],
    DATABASE_URL: [
      'db',
      'mysql://db/bank',
      'postgres://db',
      'postgres://db/',
      'postgres:///bank',
      'postgres://x:secret@db',
    ],
    ACCOUNTS_FILE: ['/no/such/file'],
  }
  for (const [name, values] of Object.entries(cases)) {
    t.test(name, async (t) => {
      for (const value of values.filter((text) => text !== '')) {
        const faults = faultsOf({ ...required, [name]: value })
        t.equal(faults.length, 1, `${JSON.stringify(value.slice(0, 40))} is one fault: ${faults.join('; ')}`)
        t.match(faults[0], new RegExp(`^${name}: .*expected `))
        t.notMatch(faults[0], '\n')
      }
    })
  }
  t.match(faultsOf({ ...required, PORT: '70000' }), ['PORT: expected a whole number from 1 to 65535, got "70000"'])
  t.match(faultsOf({ ...required, LOG_LEVEL: 'loud' }), [/expected one of fatal, error, warn, info/])
  t.match(faultsOf({ ...required, CORS_ORIGINS: '*' }), [/"\*" is refused/])
})

t.test('PostgreSQL and Redis are named by their URLs, with TLS or without', async (t) => {
  for (const REDIS_URL of ['redis://cache', 'rediss://user:secret@cache.example:6380/1', 'redis://[::1]:6379']) {
    t.equal(read({ REDIS_URL }).REDIS_URL, REDIS_URL)
  }
  for (const DATABASE_URL of [
    'postgres://db/bank',
    'postgresql://user:secret@db.example:5433/bank?sslmode=verify-full',
  ]) {
    t.equal(read({ DATABASE_URL }).DATABASE_URL, DATABASE_URL)
  }
  const faults = faultsOf({ ...required, REDIS_URL: 'rediss:/:secret@', DATABASE_URL: 'postgres://db?password=secret' })
  t.equal(faults.length, 2)
  t.notMatch(faults.join(), 'secret')
})

t.test('secrets are not shown, and long or odd values are cut and escaped', async (t) => {
  const secret = 'https://user:hunter2@issuer.example'
  for (const name of ['ISSUER', 'JWKS_URI', 'PUBLIC_URL', 'CORS_ORIGINS', 'HOST', 'LOG_LEVEL', 'ACCOUNTS_FILE']) {
    const [fault] = faultsOf({ ...required, [name]: secret })
    t.match(fault, `${name}: expected`)
    t.match(fault, '(not shown)')
    t.notMatch(fault, 'hunter2')
  }
  t.match(faultsOf({ ...required, PORT: 'x'.repeat(200) })[0], `"${'x'.repeat(100)}…"`)
  t.match(faultsOf({ ...required, LOG_LEVEL: 'a\nb\u001b' })[0], 'got "a\\nb\\u001b"')
})

t.test('every fault is told at once', async (t) => {
  t.strictSame(faultsOf({}), ['AUDIENCE: required', 'ISSUER: required'])
  t.strictSame(faultsOf({ ISSUER: '', AUDIENCE: '' }), ['AUDIENCE: required', 'ISSUER: required'], 'empty is unset')
  const names = (environment: NodeJS.ProcessEnv) => faultsOf(environment).map((fault) => fault.split(':')[0])
  t.strictSame(names({ PORT: 'x', WORKERS: '0' }), ['AUDIENCE', 'ISSUER', 'PORT', 'WORKERS'])
  t.strictSame(names({ HOST: '0.0.0.0', PORT: '9', ADMIN_PORT: '9' }), [
    'ADMIN_PORT',
    'AUDIENCE',
    'ISSUER',
    'PUBLIC_URL',
  ])
  t.strictSame(
    names({ ...required, PORT: 'x', ADMIN_PORT: 'x' }),
    ['ADMIN_PORT', 'PORT'],
    'no fault that follows from another',
  )
  t.strictSame(names({ ...required, HOST: '_' }), ['HOST'])
})

t.test('PUBLIC_URL', async (t) => {
  t.equal(read({ HOST: 'localhost', PORT: '8080' }).PUBLIC_URL, 'http://localhost:8080')
  t.equal(read({ HOST: '127.0.0.9' }).PUBLIC_URL, 'http://127.0.0.9:3000')
  t.equal(read({ HOST: '::1' }).PUBLIC_URL, 'http://[::1]:3000')
  for (const HOST of ['0.0.0.0', '::', '192.0.2.1', 'api.example.com', '127.0.0.1.example']) {
    t.match(faultsOf({ ...required, HOST }), [/^PUBLIC_URL: required when HOST is not loopback/], HOST)
    t.equal(read({ HOST, PUBLIC_URL: 'https://api.example.com' }).PUBLIC_URL, 'https://api.example.com')
  }
})

t.test('ACCOUNTS_FILE', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const account = { owner: 'alice', iban: 'DE89370400440532013000', name: 'Current', currency: 'EUR', balance: '12.50' }
  t.same(read({ ACCOUNTS_FILE: file('good.json', JSON.stringify([account])) }).ACCOUNTS_FILE, [
    { subject: 'alice', iban: account.iban, name: 'Current', currency: 'EUR', balanceMinorUnits: 1250n },
  ])
  const bad = file(
    'bad.json',
    JSON.stringify([
      { ...account, iban: 'X' },
      { ...account, balance: 1 },
    ]),
  )
  t.match(faultsOf({ ...required, ACCOUNTS_FILE: bad }), [
    /^ACCOUNTS_FILE: \[0\]\.iban: expected an IBAN/,
    /^ACCOUNTS_FILE: \[1\]\.balance: expected a decimal string$/,
  ])
  t.equal(faultsOf({ ACCOUNTS_FILE: bad, PORT: 'x' }).length, 5, 'beside the faults of other variables')
  t.match(faultsOf({ ...required, ACCOUNTS_FILE: folder }), [
    /^ACCOUNTS_FILE: expected a readable file, got ".*" \(EISDIR\)$/,
  ])
  t.match(faultsOf({ ...required, ACCOUNTS_FILE: join(folder, 'none') }), [/\(ENOENT\)$/])
  t.strictSame(faultsOf({ ...required, ACCOUNTS_FILE: file('text', '{') }), ['ACCOUNTS_FILE: expected JSON'])
})

t.test('warnings', async (t) => {
  const warningsOf = (environment: NodeJS.ProcessEnv) => {
    const result = readConfig({ ...required, ...environment })
    return 'warnings' in result ? result.warnings : []
  }
  t.strictSame(warningsOf({}), [])
  t.match(warningsOf({ STEP_UP_AMR: 'otp' }), [/set STEP_UP_ACR_VALUES as well/])
  t.match(warningsOf({ STEP_UP_CLAIM: 'level=mfa' }), [/set STEP_UP_ACR_VALUES as well/])
  t.strictSame(warningsOf({ STEP_UP_AMR: 'otp', STEP_UP_CLAIM: 'level=mfa', STEP_UP_ACR_VALUES: 'gold' }), [])
  t.match(warningsOf({ AUDIENCE: 'urn:bank' }), [/^AUDIENCE differs from PUBLIC_URL/])
  t.match(warningsOf({ SCOPE_CLAIMS: 'scope permissions' }), [/^SCOPE_CLAIMS has permissions/])
  t.match(warningsOf({ WORKERS: '2' }), [/DPoP proofs are remembered per process/])
  t.strictSame(warningsOf({ WORKERS: '2', DPOP: 'off' }), [])
  t.match(warningsOf({ DPOP: 'off', DPOP_NONCE: 'on' }), [/^DPOP_NONCE does nothing/])
  t.strictSame(warningsOf({ WORKERS: '2', REDIS_URL: 'redis://cache' }), [])
  t.equal(warningsOf({ STEP_UP_AMR: 'otp', AUDIENCE: 'urn:bank', SCOPE_CLAIMS: 'permissions' }).length, 3)
})
