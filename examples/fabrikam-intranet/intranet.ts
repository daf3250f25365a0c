import cookie from '@fastify/cookie'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { type Clock, isIdTokenSufficient, MultiFactorRequired, requireMultiFactor } from 'stepgate'
import { createCookies } from './cookies.js'
import type { OpenIdProvider } from './openid-provider.js'
import { contentSecurityPolicy, mark } from './page-style.js'
import {
  customersPage,
  employeesPage,
  endingPage,
  homeLink,
  homePage,
  profilePage,
  renderPage,
  type ShowPage,
} from './pages.js'
import { pendingSeconds } from './pending-sign-ins.js'
import { type Session, SessionStore } from './sessions.js'
import { type StepUpPolicy, signInRoutes } from './sign-in-routes.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, or null when nobody is signed in. */
    session: Session | null
  }
}

export interface IntranetOptions {
  /** Where browsers find the intranet: an origin. Links and cookies go by it and never by the Host header. */
  readonly publicUrl: string
  readonly issuer: string
  readonly provider: OpenIdProvider
  /** What the page of the employees needs: any of acr, amr and the rule's own claim, and how recent. */
  readonly stepUp: StepUpPolicy['requirement']
  readonly clock: Clock
  /** Of Fastify's options: where the log goes. None by default. */
  readonly logger?: FastifyBaseLogger
}

/** For clocks that differ between the authorization server and this machine. */
const leewaySeconds = 5

/**
 * The intranet: Customers after a password, Employees after multi-factor authentication. Pages are made on the server, and
 * the browser holds cookies and no token.
 */
export async function buildIntranet(options: IntranetOptions): Promise<FastifyInstance> {
  const { publicUrl, issuer, provider, stepUp, clock, logger } = options
  const policy: StepUpPolicy = { requirement: stepUp, leewaySeconds, clock }
  const sessions = new SessionStore(clock)
  const cookies = createCookies(publicUrl, { signInSeconds: pendingSeconds })
  const csp = contentSecurityPolicy(issuer)

  // Fastify's own request lines hold the URL, and that of a callback holds a code.
  const logController = new LogController({ disableRequestLogging: true })
  const app = Fastify({ logController, ...(logger !== undefined && { loggerInstance: logger }) })
  await app.register(cookie)
  app.decorateRequest('session', null)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'cache-control': 'no-store',
      'content-security-policy': csp,
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      // Not "no-referrer": under that policy browsers send "Origin: null" with a form, and we check the origin.
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
    })
    request.session = sessions.find(cookies.readSession(request)) ?? null
  })

  const show: ShowPage = (request, reply, page, statusCode = 200) => {
    const { url: path = '' } = request.routeOptions
    const person = request.session === null ? undefined : String(request.session.claims['sub'])
    return reply.code(statusCode).type('text/html; charset=utf-8').send(renderPage(page, { path, person }))
  }

  app.setNotFoundHandler((request, reply) => {
    const page = endingPage('This page does not exist', 'The address may be mistyped, or the page was moved.', [
      homeLink,
    ])
    return show(request, reply, page, 404)
  })
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof MultiFactorRequired) {
      const text = 'This needs your second factor first. Nothing was changed. Give it, and then do this again.'
      const ways = [[error.stepUpPath, 'Give your second factor'], homeLink] as const
      return show(request, reply, endingPage('Confirm that it is you', text, ways), 403)
    }
    const { statusCode = 500, code, name } = error as Partial<Error & { statusCode: number; code: string }>
    if (statusCode < 500) {
      const page = endingPage('This cannot be done', 'The request was not understood.', [homeLink])
      return show(request, reply, page, statusCode)
    }
    // The name and not the error, whose message or cause may quote what was sent.
    request.log.error({ error: code ?? name }, 'request failed')
    const text = 'It is not your fault, and it was written down. Please try again in a moment.'
    return show(request, reply, endingPage('Something went wrong', text, [homeLink]), 500)
  })

  await app.register(signInRoutes, { publicUrl, provider, policy, sessions, cookies, show })

  app.get('/mark.svg', async (_request, reply) =>
    reply.type('image/svg+xml').header('cache-control', 'public, max-age=86400').send(coloredMark),
  )

  app.get('/', async (request, reply) => {
    const opened = isIdTokenSufficient(request.session?.claims, policy)
    return show(request, reply, homePage({ isSignedIn: request.session !== null, opened }))
  })

  app.get('/customers', { preHandler: requireSignIn }, async (request, reply) => show(request, reply, customersPage()))

  const multiFactor = requireMultiFactor({
    ...policy,
    claims: ({ session }) => session?.claims,
    stepUpPath: '/login/mfa',
    onAttempt: (_attempt, { log, routeOptions, session }) => {
      const person = session?.claims['sub']
      log.warn({ page: routeOptions.url, person }, 'User did not sign in with MFA. Step up required.')
    },
  })
  app.get('/employees', { preHandler: multiFactor }, async (request, reply) => {
    const authTime = request.session?.claims['auth_time']
    return show(request, reply, employeesPage({ authTime, maxAgeSeconds: stepUp.maxAgeSeconds }))
  })

  app.get('/profile', { preHandler: requireSignIn }, async (request, reply) =>
    show(request, reply, profilePage(request.session as Session)),
  )
  return app
}

const coloredMark = mark.replace('currentColor', '#0a5ca8')

/** A password is enough. Only for pages that are opened by GET. */
async function requireSignIn(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  if (request.session !== null) return undefined
  return reply.redirect(`/login?return_to=${encodeURIComponent(request.originalUrl)}`, 303)
}
