import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Header fields of every answer: never stored, never sniffed, framed or used by another site's page; HSTS where the public
 * address is https. Fixed strings rather than a package, because they stand on the hot path.
 */
export function fixedHeaders(publicUrl: string): Readonly<Record<string, string>> {
  return {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    ...(publicUrl.startsWith('https:') ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  }
}

/** Adds the fixed header fields to every answer that a hook sees. A route may overwrite them. */
export default fp(
  async (app: FastifyInstance, { publicUrl }: { publicUrl: string }) => {
    const headers = fixedHeaders(publicUrl)
    app.addHook('onRequest', (_request, reply, done) => {
      reply.headers(headers)
      done()
    })
  },
  { name: 'response-headers', fastify: '5.x' },
)
