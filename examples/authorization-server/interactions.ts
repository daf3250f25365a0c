import type { Interaction, InteractionResults, default as Provider } from 'oidc-provider'
import type { Clock } from './clock.js'
import { FormError, readForm } from './form-request.js'
import { formTargetOf, loginPage, messagePage, type Page, secondFactorPage, writePage } from './pages.js'
import { describePayment, parsePayments } from './payment-details.js'
import { errors } from './quiet-oidc-provider.js'
import type { SecondFactor } from './second-factor.js'
import { acr, hasSecondFactor } from './step-up-rule.js'
import type { UserStore } from './users.js'

/** What runs before oidc-provider's own routes. */
export type Middleware = Parameters<Provider['use']>[0]

type Answer = { result: InteractionResults } | { page: Page; status: number }

/**
 * The pages of an interaction: sign in, or give the second factor. Which of them it is, oidc-provider's policy has
 * decided and stored; the browser cannot choose. Each page takes its own form, and sends the browser back to the
 * authorization endpoint when it is satisfied. There is no page that asks for consent: all clients are the bank's own.
 */
export function interactionPages(
  provider: Provider,
  { users, secondFactor, clock }: { users: UserStore; secondFactor: SecondFactor; clock: Clock },
): Middleware {
  const ownOrigin = new URL(provider.issuer).origin

  return async (ctx, next) => {
    const uid = /^\/interaction\/([\w-]{1,64})$/.exec(ctx.path)?.[1]
    if (uid === undefined) return next()
    const isPost = ctx.method === 'POST'
    try {
      if (!isPost && ctx.method !== 'GET') throw new FormError(405, 'Only GET and POST are known here.')
      const form = isPost ? await readForm(ctx.req, ownOrigin) : undefined
      const interaction = await provider.interactionDetails(ctx.req, ctx.res)
      if (interaction.uid !== uid) throw new errors.SessionNotFound('another interaction is open')
      const answer = await respond(interaction, form)
      if ('page' in answer) {
        const formTarget = formTargetOf(interaction.params['redirect_uri'])
        writePage(ctx, answer.page, { status: answer.status, ...(formTarget !== undefined && { formTarget }) })
      } else {
        // 303, so that the browser follows with GET and the password is not sent on.
        ctx.status = 303
        ctx.redirect(
          await provider.interactionResult(ctx.req, ctx.res, answer.result, { mergeWithLastSubmission: true }),
        )
      }
    } catch (error) {
      if (error instanceof FormError) {
        // The rest of a refused body is left unread, so the connection cannot serve another request.
        ctx.set('Connection', 'close')
        if (error.status === 405) ctx.set('Allow', 'GET, POST')
        writePage(ctx, messagePage('This cannot be done', error.message), { status: error.status })
      } else if (error instanceof errors.SessionNotFound) {
        const text =
          'This sign-in has expired or was finished before. Go back to the application, with the back button or by its address, and start again.'
        writePage(ctx, messagePage('Start again', text), { status: 400 })
      } else throw error
    }
  }

  async function respond(interaction: Interaction, form: URLSearchParams | undefined): Promise<Answer> {
    if (form?.get('action') === 'cancel') {
      return { result: { error: 'access_denied', error_description: 'the user cancelled' } }
    }
    const client = await provider.Client.find(String(interaction.params['client_id']))
    const clientName = client?.clientName ?? client?.clientId ?? 'An application'
    return interaction.prompt.name === 'mfa'
      ? respondToSecondFactor(interaction, form, clientName)
      : respondToLogin(interaction, form, clientName)
  }

  async function respondToLogin(
    interaction: Interaction,
    form: URLSearchParams | undefined,
    clientName: string,
  ): Promise<Answer> {
    if (form === undefined) {
      const hint = interaction.params['login_hint']
      return { page: loginPage({ clientName, username: typeof hint === 'string' ? hint : '' }), status: 200 }
    }
    const username = form.get('username') ?? ''
    const signIn = await users.signIn(username, form.get('password') ?? '')
    switch (signIn.outcome) {
      case 'signed-in':
        return {
          result: { login: { accountId: username, acr: acr.password, amr: ['pwd'], ts: nowSeconds(clock) } },
        }
      case 'refused': {
        const error = 'The user name or the password is not right.'
        return { page: loginPage({ clientName, username, error }), status: 422 }
      }
      case 'locked': {
        const error = `Too many failed attempts. Try again in ${signIn.retryAfterSeconds} seconds.`
        return { page: loginPage({ clientName, username, error }), status: 429 }
      }
    }
  }

  async function respondToSecondFactor(
    interaction: Interaction,
    form: URLSearchParams | undefined,
    clientName: string,
  ): Promise<Answer> {
    const accountId = interaction.session?.accountId
    if (accountId === undefined) throw new errors.SessionNotFound('no one is signed in')
    // A second click on the button finds its code used up by the first one, and is not at fault.
    if (hasSecondFactor(interaction.result, accountId)) return { result: interaction.result ?? {} }

    const answer = form === undefined ? undefined : (form.get('answer') ?? '')
    const step = await secondFactor({ username: accountId, interactionId: interaction.uid, answer })
    if (step.outcome === 'ask') {
      const payments = parsePayments(interaction.params['authorization_details']).map(describePayment)
      const page = secondFactorPage({ clientName, username: accountId, payments, question: step })
      return { page, status: step.error === undefined ? 200 : 422 }
    }
    const amr = ['pwd', ...step.amr, 'mfa']
    // The factor makes this a new authentication, so auth_time moves (RFC 9470 §4: max_age).
    const login = { accountId, acr: acr.multiFactor, amr, ts: nowSeconds(clock) }
    return { result: { login, mfa: { accountId } } }
  }
}

function nowSeconds(clock: Clock): number {
  return Math.floor(clock.nowMs() / 1000)
}
