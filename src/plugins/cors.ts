import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

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
      exposedHeaders: ['WWW-Authenticate', 'DPoP-Nonce', 'Location', 'Retry-After', 'Idempotency-Replayed'],
      maxAge: 600,
      strictPreflight: false,
    })
  },
  { name: 'cors', fastify: '5.x' },
)
