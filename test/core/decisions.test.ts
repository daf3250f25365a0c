import t from 'tap'
import { type AccessPolicy, type AccessRules, decideAccess } from '#src/core/access-policy.js'
import type { AccessToken } from '#src/core/access-token.js'
import { isUserAuthenticationSufficient, type UserAuthenticationRequirement } from '#src/core/user-authentication.js'

const nowMs = 1_700_000_000_000
const nowSeconds = nowMs / 1000
const nothing: UserAuthenticationRequirement = { acrValues: [], amr: [], claim: undefined, maxAgeSeconds: undefined }

function makeToken(changes: Partial<AccessToken> = {}): AccessToken {
  return {
    issuer: 'https://issuer.example',
    subject: 'alice',
    clientId: 'bank-web',
    jwtId: 'one',
    issuedAtSeconds: nowSeconds,
    expiresAtSeconds: nowSeconds + 300,
    scopes: new Set(['read:accounts', 'transfer:funds']),
    authentication: { acr: undefined, amr: undefined, authTime: undefined, issuerClaim: undefined },
    authorizationDetails: undefined,
    confirmation: undefined,
    ...changes,
  }
}

t.test('RFC 9470 §5: user authentication', async (t) => {
  const acr = { acrValues: ['gold', 'silver'] }
  const amr = { amr: ['otp', 'hwk'] }
  const claim = { claim: { name: 'level', value: 'mfa' } }
  const aged = { maxAgeSeconds: 300 }
  type Shown = Partial<AccessToken['authentication']>
  const cases: [string, Partial<UserAuthenticationRequirement>, Shown, boolean][] = [
    ['nothing required', {}, {}, true],
    ['acr is the first', acr, { acr: 'gold' }, true],
    ['acr is another', acr, { acr: 'silver' }, true],
    ['acr is too weak', acr, { acr: 'bronze' }, false],
    ['acr is missing', acr, {}, false],
    ['acr in another case', acr, { acr: 'GOLD' }, false],
    ['acr as an array', acr, { acr: ['gold'] }, false],
    ['acr names two', acr, { acr: 'gold silver' }, false],
    ['amr holds one', amr, { amr: ['pwd', 'otp'] }, true],
    ['amr holds none', amr, { amr: ['pwd'] }, false],
    ['amr is empty', amr, { amr: [] }, false],
    ['amr is missing', amr, {}, false],
    ['amr as a string', amr, { amr: 'otp' }, false],
    ['amr with odd members', amr, { amr: [null, 1, { otp: true }] }, false],
    ['RFC 8176 §1: amr with the right member among odd ones', amr, { amr: ['otp', null] }, false],
    ['own claim', claim, { issuerClaim: 'mfa' }, true],
    ['own claim differs', claim, { issuerClaim: 'pwd' }, false],
    ['own claim is missing', claim, {}, false],
    ['own claim as an array', claim, { issuerClaim: ['mfa'] }, false],
    ['any one of the three: acr', { ...acr, ...amr, ...claim }, { acr: 'gold' }, true],
    ['any one of the three: amr', { ...acr, ...amr, ...claim }, { amr: ['hwk'] }, true],
    ['any one of the three: own claim', { ...acr, ...amr, ...claim }, { issuerClaim: 'mfa' }, true],
    ['none of the three', { ...acr, ...amr, ...claim }, { acr: 'otp', amr: ['gold'], issuerClaim: 'hwk' }, false],
    ['fresh', aged, { authTime: nowSeconds }, true],
    ['as old as allowed', aged, { authTime: nowSeconds - 300 }, true],
    ['a second too old', aged, { authTime: nowSeconds - 301 }, false],
    ['within the leeway of the issuer’s clock', aged, { authTime: nowSeconds + 5 }, true],
    ['in the future', aged, { authTime: nowSeconds + 6 }, false],
    ['auth_time is missing', aged, {}, false],
    ['auth_time is null', aged, { authTime: null }, false],
    ['auth_time is a string', aged, { authTime: String(nowSeconds) }, false],
    ['auth_time in milliseconds', aged, { authTime: nowMs }, false],
    ['auth_time with a fraction', aged, { authTime: nowSeconds + 0.5 }, false],
    ['auth_time is not finite', aged, { authTime: Number.POSITIVE_INFINITY }, false],
    ['max_age 0 and just now', { maxAgeSeconds: 0 }, { authTime: nowSeconds }, true],
    ['max_age 0 and a second ago', { maxAgeSeconds: 0 }, { authTime: nowSeconds - 1 }, false],
    ['strong and fresh', { ...acr, ...aged }, { acr: 'gold', authTime: nowSeconds }, true],
    ['strong but old', { ...acr, ...aged }, { acr: 'gold', authTime: nowSeconds - 301 }, false],
    ['fresh but weak', { ...acr, ...aged }, { acr: 'bronze', authTime: nowSeconds }, false],
  ]
  for (const [name, requirement, authentication, sufficient] of cases) {
    const token = makeToken({ authentication: { ...makeToken().authentication, ...authentication } })
    const required = { ...nothing, ...requirement }
    t.equal(isUserAuthenticationSufficient(token, required, { nowMs, leewaySeconds: 5 }), sufficient, name)
  }
})

t.test('access: scope, then lifetime and jti, then user authentication', async (t) => {
  const rules: AccessRules = {
    userAuthentication: { ...nothing, acrValues: ['mfa'] },
    leewaySeconds: 5,
    singleUseMaxLifetimeSeconds: 600,
    clock: { nowMs: () => nowMs },
  }
  const read: AccessPolicy = { scope: 'read:accounts' }
  const transfer: AccessPolicy = { scope: 'transfer:funds', stepUp: true, singleUse: true }
  const strong = { ...makeToken().authentication, acr: 'mfa' }
  const lifetime = (seconds: number) => ({ issuedAtSeconds: nowSeconds, expiresAtSeconds: nowSeconds + seconds })
  const scopes = (...names: string[]) => ({ scopes: new Set(names) })
  const cases: [string, AccessPolicy, Partial<AccessToken>, ReturnType<typeof decideAccess>][] = [
    ['a login reads', read, scopes('read:accounts'), undefined],
    ['a weak login reads', read, { authentication: { ...strong, acr: 'pwd' } }, undefined],
    ['reading needs its scope', read, scopes('transfer:funds'), 'insufficient-scope'],
    ['no scope at all', read, scopes(), 'insufficient-scope'],
    ['a scope that begins so', read, scopes('read:accounts2'), 'insufficient-scope'],
    ['a long-lived token reads', read, lifetime(86_400), undefined],
    ['RFC 9068 §2.2: reading needs a jti', read, { jwtId: undefined }, 'invalid-token'],
    ['a strong transfer token', transfer, { authentication: strong }, undefined],
    ['the step-up challenge', transfer, scopes('read:accounts'), 'step-up-required'],
    [
      'a strong acr alone authorises nothing',
      transfer,
      { ...scopes('read:accounts'), authentication: strong },
      'step-up-required',
    ],
    ['the scope without strength', transfer, {}, 'insufficient-user-authentication'],
    ['a transfer token without jti', transfer, { jwtId: undefined, authentication: strong }, 'not-single-use'],
    ['without jti and scope: scope first', transfer, { ...scopes(), jwtId: undefined }, 'step-up-required'],
    ['as long-lived as allowed', transfer, { ...lifetime(600), authentication: strong }, undefined],
    ['a second too long', transfer, { ...lifetime(601), authentication: strong }, 'not-single-use'],
    ['too long and weak: lifetime first', transfer, lifetime(601), 'not-single-use'],
    [
      'step-up without single use',
      { scope: 'transfer:funds', stepUp: true },
      lifetime(601),
      'insufficient-user-authentication',
    ],
    ['single use without step-up', { scope: 'transfer:funds', singleUse: true }, {}, undefined],
    ['single use without step-up or scope', { scope: 'pay', singleUse: true }, {}, 'insufficient-scope'],
  ]
  for (const [name, policy, changes, problem] of cases) {
    t.equal(decideAccess(policy, makeToken(changes), rules), problem, name)
  }
})
