import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { Refusal } from '../core/refusal.js'

/** What is passed on; the rest concerns a connection that does not exist. */
const documentHeaders = ['content-type', 'content-security-policy', 'location']

/** Made once and kept, because writing the document takes milliseconds that any caller could ask for. */
const documentPaths = ['/openapi.json', '/openapi.yaml', '/docs/json', '/docs/yaml']

interface InnerAnswer {
  statusCode: number
  headers: Record<string, string>
  body: Buffer
}

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
    const kept = new Map<string, InnerAnswer>()

    async function answer(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
      const { url } = request.routeOptions
      const path = url === '/docs/*' ? `/docs/${(request.params as { '*': string })['*']}` : (url as string)
      const known = kept.get(path) ?? (await makeAnswer(path))
      if (known === undefined) throw new Refusal('unknown-path')
      if (documentPaths.includes(path)) kept.set(path, known)
      return reply.code(known.statusCode).headers(known.headers).send(known.body)
    }

    async function makeAnswer(path: string): Promise<InnerAnswer | undefined> {
      // Nothing that the inner router could read as another path: names here are plain.
      if (!/^[\w/.-]*$/.test(path) || path.includes('..')) return undefined
      documentation ??= import('./documentation-app.js').then(({ buildDocumentationApp }) =>
        buildDocumentationApp(routes),
      )
      const { statusCode, headers, rawPayload } = await (await documentation).inject({ method: 'GET', url: path })
      if (statusCode >= 400) return undefined
      const passedOn = documentHeaders.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]]))
      return { statusCode, headers: Object.fromEntries(passedOn), body: rawPayload }
    }

    for (const url of ['/openapi.json', '/openapi.yaml', '/docs', '/docs/*']) {
      app.route({ method: 'GET', url, config: { access: 'public' }, handler: answer })
    }
  },
  { name: 'openapi', fastify: '5.x' },
)
