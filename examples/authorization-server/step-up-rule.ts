import type { AuthorizationCode, KoaContextWithOIDC } from 'oidc-provider'

/**
 * The rule that this project grew from, in the words of https://auth0.com/docs/multifactor-authentication/custom-mfa-rules:
 *
 * > This rule also inspects the scope. If the login request is made with step_up scope, the application is requesting
 * > step-up authentication. In this case, this rule forces the user to additionally authenticate with multifactor
 * > authentication and sets the authentication_level to mfa. (…) A regular login will be marked as normal.
 *
 * It set `ignoreCookie: true`, so that a browser that had passed MFA before was asked again. Three functions below say
 * the same: what asks for a step-up, what counts as an answer, and what the tokens say.
 */

/** Authentication context classes of this server: how the user of a session signed in. */
export const acr = { password: 'urn:stepgate:acr:pwd', multiFactor: 'urn:stepgate:acr:mfa' } as const

/** Scopes that no one gets without multi-factor authentication in the same authorization request. */
const highValueScopes: readonly string[] = ['transfer:funds', 'step_up']

/** What an authorization request asked for, as far as the rule looks at it. */
interface StepUpRequest {
  readonly scopes: Iterable<string>
  readonly acrValues: readonly unknown[]
  /** Whether a payment is to be authorised in detail (RFC 9396), which moves money like the scope does. */
  readonly namesPayment: boolean
}

/** First part, "isStepUpRequested": a high-value scope, the MFA class among `acr_values` (RFC 9470 §4), or a payment. */
function isStepUpRequested({ scopes, acrValues, namesPayment }: StepUpRequest): boolean {
  return (
    [...scopes].some((scope) => highValueScopes.includes(scope)) || acrValues.includes(acr.multiFactor) || namesPayment
  )
}

/** The same question about the authorization request that is being answered. */
export function isStepUpRequestedIn(ctx: KoaContextWithOIDC): boolean {
  const { params = {} } = ctx.oidc
  return isStepUpRequested({
    scopes: words(params['scope']),
    acrValues: words(params['acr_values']),
    namesPayment: params['authorization_details'] !== undefined,
  })
}

/**
 * Second part, "triggerStepUp": whether the user must be asked for a second factor now. Only a factor that the same user
 * gave in this very interaction counts. The session and its cookie are not looked at, which is `ignoreCookie`. Without a
 * user there is no one to ask yet; the login page comes first.
 */
export function mustAskForSecondFactor(ctx: KoaContextWithOIDC): boolean {
  const accountId = ctx.oidc.session?.accountId
  return accountId !== undefined && isStepUpRequestedIn(ctx) && !hasSecondFactor(ctx.oidc.result, accountId)
}

/** Whether an interaction's result holds a second factor that this user gave. Another user's does not count. */
export function hasSecondFactor(result: Readonly<Record<string, unknown>> | undefined, accountId: string): boolean {
  const mfa = result?.['mfa']
  return typeof mfa === 'object' && mfa !== null && 'accountId' in mfa && mfa.accountId === accountId
}

/**
 * Third part: what the tokens of an authorization code say. `acr`, `amr` and `auth_time` tell how and when the user last
 * authenticated in this session, so after a step-up a silent token for reading carries the strong `acr` too, truthfully.
 * `authentication_level` is the rule's own and speaks of this request only: "mfa" when it forced a second factor, else
 * "normal". So neither claim alone may authorise a transfer; the scope does.
 */
export function stepUpClaims(code: AuthorizationCode): {
  acr: string | undefined
  amr: string[] | undefined
  auth_time: number | undefined
  authentication_level: 'normal' | 'mfa'
} {
  const forced = isStepUpRequested({
    scopes: code.scopes,
    acrValues: code.claims?.id_token?.['acr']?.values ?? [],
    namesPayment: code.rar !== undefined,
  })
  if (forced && code.acr !== acr.multiFactor) {
    throw new Error('a code for a high-value scope came about without multi-factor authentication')
  }
  return { acr: code.acr, amr: code.amr, auth_time: code.authTime, authentication_level: forced ? 'mfa' : 'normal' }
}

function words(parameter: unknown): string[] {
  return typeof parameter === 'string' ? parameter.split(' ') : []
}
