import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type IdTokenClaims, type IdTokenPolicy, isIdTokenSufficient, toReturnPath } from 'stepgate'
import type { Cookies } from './cookies.js'
import { type OpenIdProvider, SignInFailed } from './openid-provider.js'
import { endingPage, homeLink, type ShowPage } from './pages.js'
import { type PendingSignIn, PendingSignIns } from './pending-sign-ins.js'
import type { SessionStore } from './sessions.js'

/** The policy of the step-up. It says how recent, too. */
export interface StepUpPolicy extends IdTokenPolicy {
  readonly requirement: IdTokenPolicy['requirement'] & { readonly maxAgeSeconds: number }
}

interface SignInRoutesOptions {
  readonly publicUrl: string
  readonly provider: OpenIdProvider
  readonly policy: StepUpPolicy
  readonly sessions: SessionStore
  readonly cookies: Cookies
  readonly show: ShowPage
}

type ReturnQuery = { Querystring: { return_to?: unknown } }
type CallbackQuery = { Querystring: { state?: unknown } }

/**
 * What is asked of the authorization server is so much stricter than what is checked here: its clock is not ours and the way
 * back takes time, so an answer that is just new enough there would be too old here, or on the next page.
 */
const spareSeconds = 60
/** A longer way back is forgotten, so that the cookies of several sign-ins fit into a request. */
const maxReturnPathCharacters = 1024

/** Signing in, the step-up, the way back from both, and signing out. */
export async function signInRoutes(app: FastifyInstance, options: SignInRoutesOptions): Promise<void> {
  const { publicUrl, provider, policy, sessions, cookies, show } = options
  const { requirement, clock } = policy
  const pendingSignIns = new PendingSignIns({ clock, cookies })

  app.get<ReturnQuery>('/login', (request, reply) =>
    sendAway(request, reply, { kind: 'sign-in', returnTo: request.query.return_to }),
  )

  /**
   * The step-up. The scope is what the rule at the authorization server looks at; acr_values and max_age are how one asks
   * by the standards of today (RFC 9470 §4, OpenID Connect Core §3.1.2.1). Who is signed in there is asked for the second factor only.
   */
  app.get<ReturnQuery>('/login/mfa', (request, reply) =>
    sendAway(request, reply, { kind: 'step-up', returnTo: request.query.return_to }),
  )

  app.get<CallbackQuery>('/callback', async (request, reply) => {
    const pending = await pendingSignIns.take(request, reply, request.query.state)
    if (pending === undefined) {
      request.log.warn('a callback that belongs to no sign-in of this browser')
      return showOver(request, reply)
    }
    try {
      return await finish(request, reply, pending)
    } catch (error) {
      return explain(request, reply, { error, pending })
    }
  })

  // Only forms of our own: SameSite keeps the cookie away from other sites' forms, and this looks at who sent it.
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: 1024 },
    (_request, _body, done) => done(null),
  )
  app.post('/logout', async (request, reply) => {
    if (!isFromOwnPage(request, publicUrl)) {
      const page = endingPage('This cannot be done', 'This form came from another site.', [homeLink])
      return show(request, reply, page, 403)
    }
    sessions.end(cookies.readSession(request))
    cookies.clearSession(reply)
    pendingSignIns.clear(request, reply)
    request.session = null
    try {
      return reply.redirect((await provider.signOutUrl()).href, 303)
    } catch (error) {
      if (!(error instanceof SignInFailed)) throw error
      request.log.warn({ fault: error.fault, detail: error.detail }, 'signed out here only')
      const text =
        'The sign-in service could not be asked to do the same, so you may still be signed in there. Close the browser if others use it.'
      return show(request, reply, endingPage('You are signed out here', text, [homeLink]))
    }
  })

  app.get('/signed-out', (request, reply) => {
    // Anybody can link to this page.
    if (request.session !== null) return reply.redirect('/', 303)
    const ways = [['/login', 'Sign in again'], homeLink] as const
    return show(request, reply, endingPage('You are signed out', 'Nobody can go on here without signing in.', ways))
  })

  async function sendAway(
    request: FastifyRequest,
    reply: FastifyReply,
    { kind, returnTo }: { kind: PendingSignIn['kind']; returnTo: unknown },
  ): Promise<FastifyReply> {
    const path = toReturnPath(returnTo) ?? '/'
    const returnPath = path.length > maxReturnPathCharacters ? '/' : path
    const maxAgeSeconds = Math.max(0, requirement.maxAgeSeconds - spareSeconds)
    const wanted =
      kind === 'sign-in'
        ? { scope: 'openid' }
        : { scope: 'openid step_up', acrValues: requirement.acrValues, maxAgeSeconds }
    try {
      const { url, checks } = await provider.begin(wanted)
      await pendingSignIns.add(request, reply, { kind, checks, returnPath, person: personOf(request.session?.claims) })
      return reply.redirect(url.href, 303)
    } catch (error) {
      return explain(request, reply, { error, pending: { kind, returnPath } })
    }
  }

  async function finish(request: FastifyRequest, reply: FastifyReply, pending: PendingSignIn): Promise<FastifyReply> {
    const query = request.originalUrl.slice(request.originalUrl.indexOf('?'))
    const claims = await provider.finish(new URL(`/callback${query}`, publicUrl), pending.checks)
    const person = personOf(claims)
    // Not what the request began with: somebody may have signed out while the code was redeemed.
    const before = sessions.find(cookies.readSession(request)) ?? null
    request.session = before
    if (!isBrowserAsBefore({ began: pending.person, now: personOf(before?.claims), answer: person })) {
      request.log.warn({ person }, `${pending.kind} came back after somebody signed out or in`)
      return showOver(request, reply)
    }
    if (pending.kind === 'step-up' && !isIdTokenSufficient(claims, policy)) {
      // Without this look the page would send the person away again, and so on.
      throw new SignInFailed('refused', 'insufficient_user_authentication', undefined)
    }
    const stepsUp = pending.kind === 'step-up' && before !== null && personOf(before.claims) === person
    const id = sessions.renew(cookies.readSession(request), {
      claims,
      claimsBefore: stepsUp ? before.claims : undefined,
      startedMs: stepsUp ? before.startedMs : clock.nowMs(),
    })
    cookies.writeSession(reply, id)
    request.log.info({ person }, pending.kind === 'step-up' ? 'step-up succeeded' : 'sign-in succeeded')
    return reply.redirect(pending.returnPath, 303)
  }

  function showOver(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const text =
      'It was finished before, took longer than ten minutes, was begun in another browser, or you signed out meanwhile.'
    return show(request, reply, endingPage('This sign-in is over', text, [homeLink]), 400)
  }

  function explain(
    request: FastifyRequest,
    reply: FastifyReply,
    { error, pending }: { error: unknown; pending: Pick<PendingSignIn, 'kind' | 'returnPath'> },
  ): FastifyReply {
    if (!(error instanceof SignInFailed)) throw error
    const { kind, returnPath } = pending
    const person = personOf(request.session?.claims)
    request.log.warn({ person, fault: error.fault, detail: error.detail }, `${kind} failed`)
    const path = kind === 'step-up' ? '/login/mfa' : '/login'
    const ways = [[`${path}?return_to=${encodeURIComponent(returnPath)}`, 'Try again'], homeLink] as const
    switch (error.fault) {
      case 'denied': {
        const text =
          kind === 'step-up'
            ? 'You did not give your second factor, so that page stays closed. Everything else is as it was.'
            : 'You did not sign in, so only the start page is open to you.'
        return show(request, reply, endingPage('You cancelled', text, ways), 403)
      }
      case 'refused': {
        const text = 'The answer of the sign-in service was not good enough. Nothing was changed here.'
        return show(request, reply, endingPage('That did not work', text, ways), 403)
      }
      case 'unavailable': {
        reply.header('retry-after', '5')
        const text = 'The sign-in service cannot be reached. Please try again in a moment.'
        return show(request, reply, endingPage('Not now', text, ways), 503)
      }
    }
  }
}

/**
 * Whether the browser belongs to whom it did when the sign-in began. A step-up does not bring back a session that has ended, and an
 * answer about somebody else does not replace a session that began meanwhile (login CSRF). Two tabs may sign in the same person.
 */
function isBrowserAsBefore({ began, now, answer }: Record<'began' | 'now' | 'answer', string | undefined>): boolean {
  return now === began || (began === undefined && now === answer)
}

function personOf(claims: IdTokenClaims | undefined): string | undefined {
  return claims === undefined ? undefined : String(claims['sub'])
}

/** Every browser of today sends Origin with a form. Who sends none is no browser, and has no business here. */
function isFromOwnPage({ headers }: FastifyRequest, publicUrl: string): boolean {
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  return headers.origin === publicUrl && site === 'same-origin'
}
