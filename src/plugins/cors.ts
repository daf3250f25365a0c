import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const exposedHeaders = ['WWW-Authenticate', 'DPoP-Nonce', 'Location', 'Retry-After', 'Idempotency-Replayed']

/** The CORS fields of an answer that is given before any hook runs. Empty for an origin that is not allowed. */
export function corsFields(origin: string | undefined, origins: readonly string[]): Record<string, string> {
  if (origin === undefined || !origins.includes(origin)) return {}
  const expose = exposedHeaders.join(', ')
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': expose, vary: 'Origin' }
}

/**
 * Lets pages of the exact origins named call the API and read its challenges (Fetch standard, CORS protocol). Any other
 * origin gets an answer without CORS fields, which its browser withholds. No credentials: tokens travel in a header.
 */
export default fp(
  async (app: FastifyInstance, { origins }: { origins: readonly string[] }) => {
    if (origins.length === 0) return
    const { default: cors } = await import('@fastify/cors')
    app.addHook('onRoute', (route) => {
      if (route.url === '*' && route.method === 'OPTIONS') route.config = { ...route.config, access: 'public' }
    })
    await app.register(cors, {
      origin: (origin, decide) => decide(null, origin !== undefined && origins.includes(origin) ? origin : false),
      methods: ['GET', 'HEAD', 'POST'],
      allowedHeaders: ['Authorization', 'DPoP', 'Content-Type', 'Idempotency-Key'],
      exposedHeaders,
      maxAge: 600,
      strictPreflight: false,
    })
  },
  { name: 'cors', fastify: '5.x' },
)
