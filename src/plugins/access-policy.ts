import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { type AccessRules, decideAccess, type RouteAccess } from '../core/access-policy.js'
import type { AccessToken } from '../core/access-token.js'
import { Refusal } from '../core/refusal.js'
import { describePayment, isPaymentAuthorized, type Payment } from '../core/transaction-binding.js'
import { assertRequirement } from '../core/user-authentication.js'

export type AccessPolicyOptions = AccessRules

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route. A route that does not declare it stops the boot. */
    access?: RouteAccess
  }
}

/**
 * Enforces the policy that each route declares in `config.access`: decides scope, lifetime and user authentication of the
 * verified token before the body is read, and once it is validated, whether the token is for this transaction (RFC 9396).
 * Nothing is exempt by its path; a route without a policy stops the boot, and so does a `userAuthentication` that is not as its type
 * says (TypeError).
 */
export default fp(
  async (app: FastifyInstance, options: AccessPolicyOptions) => {
    const { transactionBinding, userAuthentication } = options
    assertRequirement(userAuthentication, 'userAuthentication')
    const declarations: { config?: { access?: RouteAccess } | undefined; method: string | string[]; url: string }[] = []
    app.addHook('onRoute', (route) => {
      declarations.push(route)
    })
    app.addHook('onReady', async () => {
      const undeclared = declarations.filter(({ config }) => config?.access === undefined)
      if (undeclared.length === 0) return
      const routes = undeclared.map(({ method, url }) => `${method} ${url}`).join(', ')
      throw new Error(`routes without config.access: ${routes}`)
    })

    app.addHook('onRequest', (request, _reply, done) => {
      const { access } = request.routeOptions.config
      if (access === 'public' || request.is404) return done()
      if (access === undefined || request.accessToken === null)
        return done(new Error('the caller was not authenticated'))
      const problem = decideAccess(access, request.accessToken, options)
      done(problem && new Refusal(problem))
    })

    app.addHook('preHandler', (request, _reply, done) => {
      const { access } = request.routeOptions.config
      if (typeof access !== 'object' || (access.stepUp !== true && access.transaction === undefined)) return done()
      const { authorizationDetails } = request.accessToken as AccessToken
      if (access.transaction === undefined || transactionBinding === undefined)
        return done(authorizationDetails && new Refusal('transaction-not-authorized'))
      const payment = request.body as Payment
      if (isPaymentAuthorized(authorizationDetails, payment, transactionBinding)) return done()
      done(new Refusal('transaction-not-authorized', { authorizationDetails: [describePayment(payment)] }))
    })
  },
  { name: 'access-policy', fastify: '5.x', dependencies: ['access-token'] },
)
