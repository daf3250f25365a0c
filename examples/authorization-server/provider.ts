import type { AuthorizationCode, ClientMetadata, Configuration, JWK, KoaContextWithOIDC } from 'oidc-provider'
import { formTargetOf, messagePage, signOutPage, writePage } from './pages.js'
import { parsePayments, paymentType, validatePayment } from './payment-details.js'
import { errors, interactionPolicy } from './quiet-oidc-provider.js'
import { acr, isStepUpRequestedIn, mustAskForSecondFactor, stepUpClaims } from './step-up-rule.js'
import type { UserStore } from './users.js'

const apiScopes = ['read:accounts', 'transfer:funds']
const transferTokenSeconds = 120
const readTokenSeconds = 3600

/** What differs from one provider to the next. */
export interface ProviderSetup {
  /** The API's identifier (RFC 8707), and the `aud` of every access token. */
  readonly resource: string
  readonly clients: readonly ClientMetadata[]
  readonly users: UserStore
  /** The private signing key. */
  readonly signingKey: JWK
  readonly cookieKey: string
}

/**
 * The configuration of oidc-provider. The code flow with PKCE is the only grant: no implicit, password, client
 * credentials, device or refresh token grant, and no registration. A session's cookie gives a new read token without a
 * page, and a transfer wants a person each time, so nothing is left for a refresh token to do.
 */
export function providerConfiguration({
  resource,
  clients,
  users,
  signingKey,
  cookieKey,
}: ProviderSetup): Configuration {
  return {
    clients,
    jwks: { keys: [signingKey] },
    cookies: { keys: [cookieKey] },
    clientDefaults: {
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: 'ES256',
      authorization_details_types: [paymentType],
    },
    clientBasedCORS: (_ctx, origin, client) =>
      (client.redirectUris ?? []).some((uri) => new URL(uri).origin === origin),
    responseTypes: ['code'],
    pkce: { required: () => true },
    scopes: ['openid', 'step_up', ...apiScopes],
    discovery: { protected_resources: [resource] },
    clientAuthMethods: ['none', 'client_secret_basic', 'private_key_jwt'],
    acrValues: Object.values(acr),
    claims: { openid: ['sub', 'acr', 'amr', 'auth_time', 'authentication_level'] },
    interactions: { policy: stepUpPolicy() },
    loadExistingGrant: (ctx) => grantWhatIsAsked(ctx, resource),
    findAccount: (ctx, sub) =>
      users.exists(sub) ? { accountId: sub, claims: () => ({ sub, ...claimsOf(ctx) }) } : undefined,
    extraTokenClaims: claimsOf,
    ttl: {
      AccessToken: (_ctx, token) => (token.scopes.has('transfer:funds') ? transferTokenSeconds : readTokenSeconds),
      AuthorizationCode: 60,
      IdToken: readTokenSeconds,
      Interaction: 600,
      Session: 8 * 3600,
      Grant: 8 * 3600,
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: false },
      dPoP: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, identifier) => {
          if (identifier !== resource) throw new errors.InvalidTarget()
          const jwt = { sign: { alg: 'ES256' as const } }
          return { scope: apiScopes.join(' '), audience: resource, accessTokenFormat: 'jwt', jwt }
        },
      },
      richAuthorizationRequests: {
        enabled: true,
        types: { [paymentType]: { validate: (_ctx, detail) => validatePayment(detail) } },
        authorizationDetailsForGrantSource: (ctx) => parsePayments(ctx.oidc.params?.['authorization_details']),
        authorizationDetailsForAccessToken: (ctx, _token, source) => {
          if (ctx.oidc.params?.['authorization_details'] !== undefined) {
            throw new errors.InvalidAuthorizationDetails('the user approved the details of the authorization request')
          }
          return source?.rar
        },
        authorizationDetailsForIntrospection: (_ctx, token) => token.rar,
      },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          const formTarget = formTargetOf(ctx.oidc.params?.['post_logout_redirect_uri'])
          writePage(ctx, signOutPage(form), formTarget === undefined ? {} : { formTarget })
        },
        postLogoutSuccessSource: (ctx) => writePage(ctx, messagePage('Signed out', 'You can close this page.')),
      },
    },
    renderError: (ctx, { error, error_description: description = '' }) =>
      writePage(ctx, messagePage('This cannot be done', `${error}: ${description}`), { status: ctx.status }),
  }
}

/**
 * Login first, then the second factor. A session that is older than `max_age` leads to the login page, but not when the
 * second factor will be asked for anyway: that is a fresh authentication, and SSO means that it is the only question.
 * The second factor does not come first, because oidc-provider looks at `id_token_hint` and `prompt=login` at the
 * beginning of an interaction only, and would forget about both.
 */
function stepUpPolicy() {
  const { base, Check, Prompt } = interactionPolicy
  const policy = base()
  policy.remove('consent')
  const login = policy.get('login')
  const maxAge = login?.checks.get('max_age')
  if (login === undefined || maxAge === undefined) throw new Error('oidc-provider has no check of max_age')
  login.checks.remove('max_age')
  login.checks.add(
    new Check('max_age', maxAge.description, 'login_required', (ctx) => !isStepUpRequestedIn(ctx) && maxAge.check(ctx)),
  )
  const stepUp = new Check('step_up', 'a second factor is needed now', 'interaction_required', mustAskForSecondFactor)
  policy.add(new Prompt({ name: 'mfa', requestable: false }, stepUp))
  return policy
}

/**
 * A grant of its own for every authorization request, with what that request asks for: the default would pile up scopes
 * over a session. The policy above stands between a grant and a code.
 */
async function grantWhatIsAsked(ctx: KoaContextWithOIDC, resource: string) {
  const { client, session, provider, requestParamScopes, requestParamOIDCScopes } = ctx.oidc
  if (client === undefined || session?.accountId === undefined) return undefined
  const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId })
  grant.addOIDCScope(requestParamOIDCScopes)
  grant.addResourceScope(
    resource,
    apiScopes.filter((scope) => requestParamScopes.has(scope)),
  )
  await grant.save()
  return grant
}

function claimsOf(ctx: KoaContextWithOIDC) {
  const code: AuthorizationCode | undefined = ctx.oidc.entities.AuthorizationCode
  return code === undefined ? {} : stepUpClaims(code)
}
