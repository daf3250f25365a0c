import fastify from 'fastify'
import fastifyJwtJwks from 'fastify-jwt-jwks'
import { openAccountQuery } from '../../.build/bench/candidates/accounts.js'

/** fastify-jwt-jwks as its README shows it; with `CACHE`, with the cache of its third example. */
const { PORT, DATA_DIR, ISSUER, AUDIENCE, JWKS_URI, CACHE } = process.env
const accountsOf = await openAccountQuery(DATA_DIR)

const server = fastify()

await server.register(fastifyJwtJwks, {
  jwksUrl: JWKS_URI,
  audience: AUDIENCE,
  issuer: ISSUER,
  ...(CACHE === undefined ? {} : { cache: true, cacheTTL: 100, errorCacheTTL: -1 }),
})

server.get('/accounts', { preValidation: server.authenticate }, (request) =>
  accountsOf({ issuer: request.user.iss, subject: request.user.sub }),
)

await server.listen({ host: '127.0.0.1', port: Number(PORT) })
