import Fastify from 'fastify'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { openAccountQuery } from './accounts.js'

/** jose in a bare Fastify, as the documentation of `createRemoteJWKSet` shows it. */
const { PORT, DATA_DIR, ISSUER, AUDIENCE, JWKS_URI } = process.env as Record<string, string>
const accountsOf = await openAccountQuery(DATA_DIR as string)

const JWKS = createRemoteJWKSet(new URL(JWKS_URI as string))
const expected = { issuer: ISSUER as string, audience: AUDIENCE as string }

const app = Fastify()
app.get('/accounts', async (request) => {
  const token = String(request.headers.authorization).slice('Bearer '.length)
  const { payload } = await jwtVerify(token, JWKS, expected)
  return accountsOf({ issuer: payload.iss as string, subject: payload.sub as string })
})
app.setErrorHandler((error, _request, reply) => {
  if (error instanceof errors.JOSEError) reply.code(401).send({ error: error.code })
  else reply.send(error)
})
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
