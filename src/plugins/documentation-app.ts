import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { stringify } from 'yaml'
import type { RouteAccess } from '../core/access-policy.js'
import { problemDocumentSchema } from '../core/problem-document.js'
import { completeDocument, type OpenApiDocument, type OperationPolicy, refusalsOf } from './openapi-document.js'

const description = [
  'Accounts and transfers of a bank, guarded by scopes. `read:accounts` comes with a standard login.',
  '`transfer:funds` comes only after multi-factor authentication, and its access token works once: a transfer without it',
  'is answered by a step-up challenge (403, RFC 6750 and RFC 9470) that says what to ask the authorization server for.',
  'The authorization server stands in /.well-known/oauth-protected-resource (RFC 9728).',
].join(' ')

const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * Builds an application that never listens and answers for `/openapi.json`, `/openapi.yaml` and `/docs`: the OpenAPI 3.1
 * document of the routes given, made of their zod schemas and access policies, and a page that loads nothing from elsewhere.
 */
export async function buildDocumentationApp(routes: readonly RouteOptions[]): Promise<FastifyInstance> {
  const app = Fastify()
  const policies = new Map<string, OperationPolicy>()
  const transform: SwaggerTransform = (input) => {
    const { schema, url, route } = input
    if (schema?.operationId === undefined) return { schema: { hide: true }, url }
    const policy = { access: route.config?.access as RouteAccess, hasBody: schema.body !== undefined, url }
    policies.set(schema.operationId, policy)
    const response: Record<string, unknown> = { ...(schema.response as object) }
    for (const { status } of refusalsOf(policy)) {
      response[status] = { description: '', content: { 'application/problem+json': { schema: problemDocumentSchema } } }
    }
    return jsonSchemaTransform({ ...input, schema: { ...schema, response } } as never)
  }
  const transformObject: SwaggerTransformObject = (input) =>
    completeDocument(jsonSchemaTransformObject(input) as OpenApiDocument, policies) as never

  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => (body) => JSON.stringify(body))
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
              'A JWT access token (RFC 9068). The scopes that an operation needs stand in its security requirement. One that is bound to a key is sent with the scheme DPoP and a proof (RFC 9449).',
          },
        },
      },
    },
    transform,
    transformObject,
  })
  // Registered to be described only: here they answer nobody.
  for (const route of routes) app.route({ ...route, handler: async (_request, reply) => reply.code(404).send() })
  app.get('/openapi.json', async () => app.swagger())
  app.get('/openapi.yaml', async (_request, reply) => reply.type('application/yaml').send(toYaml(app.swagger())))
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    theme: { title: 'stepgate' },
    // Without this the page would ask a server on the internet whether the document is valid.
    uiConfig: { validatorUrl: null },
  })
  await app.ready()
  return app
}

function toYaml(document: unknown): string {
  return stringify(document, { lineWidth: 120, aliasDuplicateObjects: false })
}
