import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { dpopAlgorithms } from '../core/dpop-proof.js'

export interface MetadataRouteOptions {
  publicUrl: string
  /** The issuer whose tokens are accepted, or all of them where contexts accept one each. */
  issuer: string | readonly string[]
  scopes: readonly string[]
  /** Types of `authorization_details` that a token may be bound to (RFC 9396 §10); left out when there are none. */
  authorizationDetailsTypes?: readonly string[]
  /** Whether access tokens that are bound to a key are taken, or nothing else; not at all when left out. */
  dpop?: 'off' | 'accept' | 'require'
}

export const metadataSchema = z
  .strictObject({
    resource: z.url(),
    authorization_servers: z.array(z.url()),
    scopes_supported: z.array(z.string()),
    bearer_methods_supported: z.array(z.literal('header')),
    authorization_details_types_supported: z.array(z.string()).optional(),
    dpop_signing_alg_values_supported: z.array(z.enum(dpopAlgorithms)).optional(),
    dpop_bound_access_tokens_required: z.literal(true).optional(),
  })
  .meta({ id: 'ProtectedResourceMetadata', description: 'RFC 9728 §2' })

/** Protected resource metadata (RFC 9728): where a challenge's `resource_metadata` leads. Names nothing this version lacks. */
export const metadataRoutes: FastifyPluginAsyncZod<MetadataRouteOptions> = async (
  app,
  { publicUrl, issuer, scopes, authorizationDetailsTypes = [], dpop = 'off' },
) => {
  const metadata = {
    resource: publicUrl,
    authorization_servers: [issuer].flat(),
    scopes_supported: [...scopes],
    bearer_methods_supported: ['header' as const],
    ...(authorizationDetailsTypes.length > 0
      ? { authorization_details_types_supported: [...authorizationDetailsTypes] }
      : {}),
    ...(dpop === 'off' ? {} : { dpop_signing_alg_values_supported: [...dpopAlgorithms] }),
    ...(dpop === 'require' ? { dpop_bound_access_tokens_required: true as const } : {}),
  }
  app.route({
    method: 'GET',
    url: '/.well-known/oauth-protected-resource',
    config: { access: 'public' },
    schema: {
      operationId: 'getProtectedResourceMetadata',
      summary: 'Protected resource metadata (RFC 9728)',
      tags: ['documentation'],
      response: { 200: metadataSchema },
    },
    handler: async () => metadata,
  })
}
