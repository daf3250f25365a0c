import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import findMyWay, { type HTTPMethod } from 'find-my-way'
import { Refusal } from '../core/refusal.js'

/**
 * Answers what no route answers: 405 with Allow where the path exists under another method (RFC 9110 §15.5.6), else 404.
 * Asks a second router with the same routes, because Fastify does not tell which methods a path has.
 */
export default fp(
  async (app: FastifyInstance) => {
    const router = findMyWay()
    app.addHook('onRoute', ({ method, url }) => {
      if (url !== '*') router.on([method].flat() as HTTPMethod[], url, () => undefined)
    })
    const refuse = async ({ url }: FastifyRequest): Promise<never> => {
      const allow = METHODS.filter((method) => router.find(method as HTTPMethod, url) !== null)
      throw allow.length > 0 ? new Refusal('method-not-allowed', { allow }) : new Refusal('unknown-path')
    }
    // Before the body is read: whatever it holds does not matter here.
    app.addHook('onRequest', async (request) => {
      if (request.is404) await refuse(request)
    })
    app.setNotFoundHandler(refuse)
  },
  { name: 'not-found', fastify: '5.x', dependencies: ['problem'] },
)
