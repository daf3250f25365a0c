import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { stringify } from 'yaml'
import { problemDocumentSchema } from '../core/problem-document.js'
import { completeDocument, type OpenApiDocument, type OperationPolicy, refusalsOf } from './openapi-document.js'

const description = `Accounts and transfers of a bank, guarded by scopes. \`read:accounts\` comes with a standard login.
\`transfer:funds\` comes only after multi-factor authentication, and its access token works once: a transfer without it
is answered by a step-up challenge (403, RFC 6750 and RFC 9470) that says what to ask the authorization server for.
The authorization server stands in /.well-known/oauth-protected-resource (RFC 9728).`

/**
 * The OpenAPI 3.1 document, generated on first use from the schemas and access policies of the routes registered after this
 * plugin; served at /openapi.json and /openapi.yaml, with a page at /docs that loads nothing from elsewhere.
 */
export default fp(
  async (app: FastifyInstance) => {
    const policies = new Map<string, OperationPolicy>()
    const transform: SwaggerTransform = (input) => {
      const { schema, url, route } = input
      if (schema.hide === true) return { schema, url }
      const policy: OperationPolicy = {
        access: route.config?.access ?? 'public',
        hasBody: schema.body !== undefined,
        url,
      }
      policies.set(schema.operationId as string, policy)
      const response: Record<string, unknown> = { ...(schema.response as object) }
      for (const status of new Set(refusalsOf(policy).map(({ status }) => status))) {
        response[status] = {
          description: '',
          content: { 'application/problem+json': { schema: problemDocumentSchema } },
        }
      }
      return jsonSchemaTransform({ ...input, schema: { ...schema, response } } as never)
    }
    const transformObject: SwaggerTransformObject = (input) =>
      completeDocument(jsonSchemaTransformObject(input) as OpenApiDocument, policies) as never

    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'stepgate',
          version: '1',
          summary: 'A bank API that shows how step-up is done.',
          description,
          license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } as never,
        },
        servers: [{ url: '/', description: 'The server that this document comes from.' }],
        tags: [
          { name: 'accounts', description: 'Reading, with read:accounts.' },
          { name: 'transfers', description: 'Moving money, with transfer:funds.' },
          { name: 'documentation', description: 'What clients and people read.' },
          { name: 'operations', description: 'Health.' },
        ],
        components: {
          securitySchemes: {
            accessToken: {
              type: 'http',
              scheme: 'bearer',
              bearerFormat: 'JWT',
              description:
                'A JWT access token (RFC 9068). The scopes that an operation needs stand in its security requirement.',
            },
          },
        },
      },
      transform,
      transformObject,
    })

    app.get('/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, async () => app.swagger())
    app.get('/openapi.yaml', { config: { access: 'public' }, schema: { hide: true } }, async (_request, reply) =>
      reply.type('application/yaml').send(toYaml(app.swagger())),
    )
    await app.register(async (docs) => {
      docs.addHook('onRoute', (route) => {
        route.config = { ...route.config, access: 'public' }
      })
      await docs.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, theme: { title: 'stepgate' } })
    })
  },
  { name: 'openapi', fastify: '5.x' },
)

/** The document as it stands in `openapi.yaml`. */
export function toYaml(document: unknown): string {
  return stringify(document, { lineWidth: 120, aliasDuplicateObjects: false })
}
