import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { Refusal } from '../core/refusal.js'

/** What is passed on; the rest concerns a connection that does not exist. */
const documentHeaders = ['content-type', 'content-security-policy', 'location']

/**
 * Serves the OpenAPI document of the routes registered after this plugin at /openapi.json and /openapi.yaml, and a page for
 * people at /docs. The packages that make them are loaded on the first request for one: a process that nobody asks neither
 * starts slower nor grows for them.
 */
export default fp(
  async (app: FastifyInstance) => {
    const routes: RouteOptions[] = []
    app.addHook('onRoute', (route) => {
      if (route.method !== 'HEAD' && route.schema?.operationId !== undefined) routes.push(route)
    })
    let documentation: Promise<FastifyInstance> | undefined

    async function answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
      documentation ??= import('./documentation-app.js').then(({ buildDocumentationApp }) =>
        buildDocumentationApp(routes),
      )
      const { statusCode, headers, rawPayload } = await (await documentation).inject({
        method: 'GET',
        url: request.url,
      })
      if (statusCode >= 400) throw new Refusal('unknown-path')
      for (const name of documentHeaders) if (headers[name] !== undefined) reply.header(name, headers[name])
      return reply.code(statusCode).send(rawPayload)
    }

    for (const url of ['/openapi.json', '/openapi.yaml', '/docs', '/docs/*']) {
      app.route({ method: 'GET', url, config: { access: 'public' }, handler: answer })
    }
  },
  { name: 'openapi', fastify: '5.x' },
)
