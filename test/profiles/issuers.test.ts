import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { parseChallenge } from '../helpers/challenges.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { checkRefusal } from '../helpers/refusals.js'
import { publicUrl, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, malleate, signCompact, TestIssuer } from '../helpers/test-issuer.js'

const recipes = readFileSync('docs/issuers.md', 'utf8')

/** The environment that a section of docs/issuers.md gives, but for the issuer's name and what is a placeholder. */
function settingsOf(section: string): Record<string, string> {
  const [, lines = ''] = new RegExp(`\\n## ${section}\\n.*?\\n\`\`\`sh\\n(.*?)\`\`\``, 's').exec(recipes) ?? []
  const settings = [...lines.matchAll(/^([A-Z_]+)=([^\s<]*)/gm)].map(([, name = '', value = '']) => [name, value])
  const { ISSUER: _issuer, ...environment } = Object.fromEntries(settings) as Record<string, string>
  return { STEP_UP_ACR_VALUES: '', STEP_UP_MAX_AGE: '', ...environment }
}

/**
 * Tokens of the shape that each issuer gives out, with every claim that it adds by itself, against the settings in
 * docs/issuers.md. What their documents do not promise is left out.
 */
interface Issuer {
  /** What its name has after the host. */
  path: string
  environment: Record<string, string>
  header: Record<string, unknown>
  /** The claims of a plain login, for an issuer, an audience and a time. */
  claims(iss: string, aud: string, now: number): Claims
  /** What a step-up changes in them. */
  stepUp: Claims | ((now: number) => Claims)
  /** What the challenge asks for besides the scope. */
  asks: Record<string, string>
}

const pape = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor'
const entraApi = '6e74172b-be56-4843-9ff4-e66a39bb12e3'

const keycloakClaims = (iss: string, aud: string, now: number): Claims => ({
  exp: now + 300,
  iat: now,
  auth_time: now - 3600,
  jti: `onrtac:${randomUUID()}`,
  iss,
  aud: [aud, 'account'],
  sub: '36fa0f91-f94d-4a0c-afed-6b7d952e47da',
  typ: 'Bearer',
  azp: 'bank-web',
  sid: '2a88c258-f73a-4103-b862-e1fbd8f4e04e',
  acr: 'urn:example:pwd',
  'allowed-origins': ['https://bank.example'],
  realm_access: { roles: ['offline_access', 'default-roles-bank', 'uma_authorization'] },
  resource_access: { account: { roles: ['manage-account', 'view-profile'] } },
  scope: 'openid read:accounts profile email',
  email_verified: true,
  name: 'Alice Example',
  preferred_username: 'alice',
  email: 'alice@bank.example',
})
const keycloakStepUp = (now: number): Claims => ({
  acr: 'urn:example:mfa',
  auth_time: now,
  scope: 'openid read:accounts transfer:funds profile email',
})
const keycloakAsks = { acr_values: 'urn:example:mfa', max_age: '300' }

const issuers: Record<string, Issuer> = {
  'Auth0, its own profile': {
    path: '/',
    environment: settingsOf('Auth0'),
    header: { alg: 'RS256', typ: 'JWT' },
    claims: (iss, aud, now) => ({
      iss,
      sub: 'auth0|6553da60a54af58e29493993',
      aud: [aud, `${iss}userinfo`],
      iat: now,
      exp: now + 600,
      scope: 'openid read:accounts',
      azp: 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja',
      permissions: ['read:accounts', 'transfer:funds'],
      authentication_level: 'normal',
    }),
    stepUp: { scope: 'openid read:accounts transfer:funds', authentication_level: 'mfa' },
    asks: { acr_values: pape },
  },
  'Auth0, its RFC 9068 profile': {
    path: '/',
    environment: { ...settingsOf('Auth0'), TOKEN_PROFILE: 'rfc9068' },
    header: { alg: 'RS256', typ: 'at+jwt' },
    claims: (iss, aud, now) => ({
      iss,
      sub: 'auth0|6553da60a54af58e29493993',
      aud: [aud, `${iss}userinfo`],
      iat: now,
      exp: now + 600,
      scope: 'openid read:accounts',
      client_id: 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja',
      jti: randomUUID(),
      authentication_level: 'normal',
    }),
    stepUp: { scope: 'openid read:accounts transfer:funds', authentication_level: 'mfa' },
    asks: { acr_values: pape },
  },
  'Keycloak as it comes': {
    path: '/realms/bank',
    environment: settingsOf('Keycloak'),
    header: { alg: 'RS256', typ: 'JWT' },
    claims: keycloakClaims,
    stepUp: keycloakStepUp,
    asks: keycloakAsks,
  },
  'Keycloak with at+jwt and a mapper for client_id': {
    path: '/realms/bank',
    environment: { ...settingsOf('Keycloak'), TOKEN_PROFILE: 'rfc9068' },
    header: { alg: 'RS256', typ: 'at+jwt' },
    claims: (...parameters) => ({ ...keycloakClaims(...parameters), client_id: 'bank-web' }),
    stepUp: keycloakStepUp,
    asks: keycloakAsks,
  },
  'Okta, a custom authorization server': {
    path: '/oauth2/aus9o8wzkhckw9TLa0h7',
    environment: settingsOf('Okta'),
    header: { alg: 'RS256' },
    claims: (iss, aud, now) => ({
      ver: 1,
      jti: `AT.${randomUUID()}`,
      iss,
      aud,
      iat: now,
      exp: now + 300,
      cid: '0oabv6kx4qq6h1U5l0h7',
      uid: '00uixa271s6x7qt8I0h7',
      scp: ['openid', 'read:accounts'],
      auth_time: now - 3600,
      sub: 'alice@bank.example',
    }),
    stepUp: (now) => ({
      scp: ['openid', 'read:accounts', 'transfer:funds'],
      acr: 'urn:okta:loa:2fa:any',
      auth_time: now,
    }),
    asks: { acr_values: 'urn:okta:loa:2fa:any', max_age: '300' },
  },
  'Microsoft Entra, v2': {
    path: '/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0',
    environment: { ...settingsOf('Microsoft Entra'), AUDIENCE: entraApi },
    header: { alg: 'RS256', typ: 'JWT' },
    claims: (iss, aud, now) => ({
      aud,
      iss,
      // Entra dates tokens back by five minutes.
      iat: now - 300,
      nbf: now - 300,
      exp: now + 600,
      aio: 'AYQAe/8cAAAA',
      auth_time: now - 3600,
      azp: '6e74172b-0000-4843-9ff4-e66a39bb12e3',
      azpacr: '0',
      name: 'Alice Example',
      oid: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
      preferred_username: 'alice@bank.example',
      rh: '0.AQUAAAA.',
      scp: 'read:accounts',
      sid: '00aa00aa-bb11-cc22-dd33-44ee44ee44ee',
      sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
      tid: 'aaaabbbb-0000-cccc-1111-dddd2222eeee',
      uti: randomUUID(),
      ver: '2.0',
    }),
    stepUp: (now) => ({ scp: 'read:accounts transfer:funds', auth_time: now }),
    asks: { max_age: '300' },
  },
}

const ownIban = 'NL91ABNA0417164300'
const json = transferBody({ debtorAccount: { iban: ownIban } })

/** A server with the issuer's settings, where the token's subject has an account, and tokens of that issuer. */
async function startBank(t: Test, { path, environment, header, claims, stepUp }: Issuer) {
  const clock = new ManualClock()
  const issuer = await TestIssuer.start(0, path)
  t.teardown(() => issuer.stop())
  // As most of them do, the issuer does not say which algorithm a key is for.
  const { alg: _alg, ...jwk } = issuer.keys.RS256.jwk
  issuer.published = [jwk, issuer.keys.ES256.jwk]
  const api: TestApi = await startTestApi(t, { issuer, clock, environment })
  const plain = (changes: Claims = {}): Claims => ({
    ...claims(issuer.url, environment['AUDIENCE'] ?? publicUrl, clock.nowSeconds),
    ...changes,
  })
  const strong = (changes: Claims = {}): Claims =>
    plain({ ...(typeof stepUp === 'function' ? stepUp(clock.nowSeconds) : stepUp), ...changes })
  const sign = (payload: Claims, changes: Record<string, unknown> = {}): string => {
    const key = changes['alg'] === 'ES256' ? issuer.keys.ES256 : issuer.keys.RS256
    return signCompact({ kid: key.kid, ...header, ...changes }, payload, key)
  }
  const subject = String(plain()['sub'])
  await api.sqlite.openAccounts(issuer.url, [
    { subject, iban: ownIban, name: 'Own', currency: 'EUR', balanceMinorUnits: 1_000_000n },
  ])
  const pay = (token: string) => api.call('POST', '/transfers', { token, json })
  const read = (token: string) => api.call('GET', '/accounts', { token })
  return { ...api, issuer, clock, plain, strong, sign, pay, read }
}

for (const [name, shape] of Object.entries(issuers)) {
  t.test(name, async (t) => {
    const { call, plain, strong, sign, pay, read } = await startBank(t, shape)

    t.test('a login reads its accounts', async (t) => {
      const { status, body } = await read(sign(plain()))
      t.equal(status, 200)
      t.match(body, { accounts: [{ iban: ownIban }] })
    })

    t.test('a transfer asks for the step-up, whose token works once', async (t) => {
      const refused = await pay(sign(plain()))
      checkRefusal(t, refused, [403, 'step-up-required'])
      const { realm, error, error_description, resource_metadata, scope, ...asks } = Object.fromEntries(
        parseChallenge(refused.challenge ?? '').parameters,
      )
      t.strictSame({ scope, ...asks }, { scope: 'transfer:funds', ...shape.asks })
      const token = sign(strong())
      t.equal((await pay(token)).status, 201)
      checkRefusal(t, await pay(token), [401, 'token-already-used'])
      t.equal((await read(token)).status, 200)
    })

    t.test('the scope without the step-up is not enough', async (t) => {
      const { scope, scp } = strong()
      const scopes = scope === undefined ? { scp } : { scope }
      checkRefusal(t, await pay(sign(plain(scopes))), [401, 'insufficient-user-authentication'])
    })

    t.test('tokens of another kind are refused', async (t) => {
      const { azp, cid, client_id, ...unnamed } = strong()
      const types = ['at+jwt', 'JWT', 'JOSE', 'dpop+jwt', 'id_token+jwt', 'logout+jwt', '', ' ', null, 1, ['JWT'], {}]
      const { typ: own } = shape.header
      const cases: [string, string][] = [
        ['no client', sign(unnamed)],
        ['an empty client', sign({ ...unnamed, azp: '', cid: '', client_id: '' })],
        ['an odd client', sign({ ...unnamed, azp: ['x'], cid: {}, client_id: 1 })],
        ['the audience of an ID Token', sign(strong({ aud: azp ?? cid ?? client_id }))],
        ['an empty jti', sign(strong({ jti: '' }))],
        ['an odd jti', sign(strong({ jti: null }))],
        ...types
          .filter((typ) => typ !== own && !(own === undefined && typ === 'JWT'))
          .map((typ): [string, string] => [`typ ${JSON.stringify(typ)}`, sign(strong(), { typ })]),
        ...(own === undefined ? [] : [['no typ', sign(strong(), { typ: undefined })] as [string, string]]),
      ]
      for (const [label, token] of cases) {
        checkRefusal(t, await read(token), [401, 'invalid-token'], label)
        checkRefusal(t, await pay(token), [401, 'invalid-token'], label)
      }
      t.equal((await call('GET', '/livez')).status, 200)
    })
  })
}

t.test('TOKEN_PROFILE=auth0 without jti', async (t) => {
  const shape = issuers['Auth0, its own profile'] as Issuer
  const { clock, issuer, pay, sign, strong } = await startBank(t, shape)

  t.test('another spelling of the signature is the same token', async (t) => {
    const token = sign(strong(), { alg: 'ES256' })
    t.equal((await pay(token)).status, 201)
    checkRefusal(t, await pay(malleate(token)), [401, 'token-already-used'])
    checkRefusal(t, await pay(token), [401, 'token-already-used'])
  })

  t.test('the same claims in the same second are the same token, in the next second another', async (t) => {
    clock.advance(1000)
    const [first, second] = [sign(strong()), sign(strong())]
    t.equal((await pay(first)).status, 201)
    checkRefusal(t, await pay(second), [401, 'token-already-used'])
    clock.advance(1000)
    t.equal((await pay(sign(strong()))).status, 201)
  })

  t.test('a jti that is there names the token', async (t) => {
    clock.advance(1000)
    const jti = randomUUID()
    t.equal((await pay(sign(strong({ jti })))).status, 201)
    checkRefusal(t, await pay(sign(strong({ jti, nonce: 'x' }))), [401, 'token-already-used'])
    t.equal((await pay(sign(strong({ jti: `${jti}2` })))).status, 201, 'the claims may be the same then')
  })

  t.test('permissions say what a user could do, and count only when SCOPE_CLAIMS names them', async (t) => {
    const environment = { ...shape.environment, SCOPE_CLAIMS: 'permissions' }
    const bank = await startBank(t, { ...shape, environment })
    const { scope: _scope, ...claims } = bank.strong()
    t.equal((await bank.pay(bank.sign(claims))).status, 201)
    checkRefusal(t, await pay(sign(strong({ scope: 'openid read:accounts' }))), [403, 'step-up-required'])
    for (const permissions of ['read:accounts transfer:funds', {}, [['transfer:funds']], null]) {
      const token = bank.sign({ ...claims, permissions })
      checkRefusal(t, await bank.pay(token), [401, 'invalid-token'], JSON.stringify(permissions))
    }
  })

  t.equal(issuer.url.at(-1), '/', 'its name ends with a slash, in the metadata and in tokens')
})
