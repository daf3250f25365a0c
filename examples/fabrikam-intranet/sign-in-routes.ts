import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type IdTokenPolicy, isIdTokenSufficient, toReturnPath } from 'stepgate'
import type { Cookies } from './cookies.js'
import { type OpenIdProvider, SignInFailed } from './openid-provider.js'
import { endingPage, homeLink, type ShowPage } from './pages.js'
import { type PendingSignIn, PendingSignIns } from './pending-sign-ins.js'
import { newSecret, type SessionStore } from './sessions.js'

interface SignInRoutesOptions {
  readonly publicUrl: string
  readonly provider: OpenIdProvider
  readonly policy: IdTokenPolicy
  readonly sessions: SessionStore
  readonly cookies: Cookies
  readonly show: ShowPage
}

type ReturnQuery = { Querystring: { return_to?: unknown } }
type CallbackQuery = { Querystring: { state?: unknown } }

/** Signing in, the step-up, the way back from both, and signing out. */
export async function signInRoutes(app: FastifyInstance, options: SignInRoutesOptions): Promise<void> {
  const { publicUrl, provider, policy, sessions, cookies, show } = options
  const { requirement, clock } = policy
  const pendingSignIns = new PendingSignIns(clock)

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
    const pending = pendingSignIns.take(request.query.state, cookies.readBrowser(request))
    if (pending === undefined) {
      request.log.warn('a callback that belongs to no sign-in of this browser')
      const text = 'It was finished before, took longer than ten minutes, or was begun in another browser.'
      return show(request, reply, endingPage('This sign-in is over', text, [homeLink]), 400)
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
    request.session = null
    try {
      return reply.redirect((await provider.signOutUrl()).href, 303)
    } catch {
      return reply.redirect('/signed-out', 303)
    }
  })

  app.get('/signed-out', (request, reply) => {
    const ways = [['/login', 'Sign in again'], homeLink] as const
    return show(request, reply, endingPage('You are signed out', 'Nobody can go on here without signing in.', ways))
  })

  async function sendAway(
    request: FastifyRequest,
    reply: FastifyReply,
    { kind, returnTo }: { kind: PendingSignIn['kind']; returnTo: unknown },
  ): Promise<FastifyReply> {
    const returnPath = toReturnPath(returnTo) ?? '/'
    const wanted =
      kind === 'sign-in'
        ? { scope: 'openid' }
        : { scope: 'openid step_up', acrValues: requirement.acrValues, maxAgeSeconds: requirement.maxAgeSeconds }
    try {
      const { url, checks } = await provider.begin(wanted)
      // Another tab may have a sign-in open, so the browser keeps the name it has.
      const browser = cookies.readBrowser(request) || newSecret()
      pendingSignIns.add({ kind, checks, returnPath, browser })
      cookies.writeBrowser(reply, browser)
      return reply.redirect(url.href, 303)
    } catch (error) {
      return explain(request, reply, { error, pending: { kind, returnPath } })
    }
  }

  async function finish(request: FastifyRequest, reply: FastifyReply, pending: PendingSignIn): Promise<FastifyReply> {
    const query = request.url.slice(request.url.indexOf('?'))
    const claims = await provider.finish(new URL(`/callback${query}`, publicUrl), pending.checks)
    const person = claims['sub']
    if (pending.kind === 'step-up' && !isIdTokenSufficient(claims, policy)) {
      // Without this look the page would send the person away again, and so on.
      throw new SignInFailed('refused', 'insufficient_user_authentication', undefined)
    }
    const before = request.session
    const isSamePerson = before !== null && before.claims['sub'] === person
    const id = sessions.renew(cookies.readSession(request), {
      claims,
      claimsBefore: isSamePerson && pending.kind === 'step-up' ? before.claims : undefined,
      startedMs: isSamePerson ? before.startedMs : clock.nowMs(),
    })
    cookies.writeSession(reply, id)
    request.log.info({ person }, pending.kind === 'step-up' ? 'step-up succeeded' : 'sign-in succeeded')
    return reply.redirect(pending.returnPath, 303)
  }

  function explain(
    request: FastifyRequest,
    reply: FastifyReply,
    { error, pending }: { error: unknown; pending: Pick<PendingSignIn, 'kind' | 'returnPath'> },
  ): FastifyReply {
    if (!(error instanceof SignInFailed)) throw error
    const { kind, returnPath } = pending
    const person = request.session?.claims['sub']
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

/** Every browser of today sends Origin with a form. Who sends none is no browser, and has no business here. */
function isFromOwnPage({ headers }: FastifyRequest, publicUrl: string): boolean {
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  return headers.origin === publicUrl && site === 'same-origin'
}
