import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import buildGetJwks from 'get-jwks'
import { openAccountQuery } from './accounts.js'

/** @fastify/jwt with get-jwks, as the README of get-jwks shows it ("Integration Examples"); audience as in that of @fastify/jwt. */
const { PORT, DATA_DIR, ISSUER, AUDIENCE } = process.env as Record<string, string>
const accountsOf = await openAccountQuery(DATA_DIR as string)

const fastify = Fastify()
const getJwks = buildGetJwks({ issuersWhitelist: [ISSUER as string] })

fastify.register(fastifyJwt, {
  decode: { complete: true },
  secret: (_request: unknown, token: unknown, callback: (error: Error | null, secret?: string) => void) => {
    const {
      header: { kid, alg },
      payload: { iss },
    } = token as { header: { kid: string; alg: string }; payload: { iss: string } }
    getJwks.getPublicKey({ kid, domain: iss, alg }).then((publicKey) => callback(null, publicKey), callback)
  },
  verify: { allowedIss: ISSUER as string, allowedAud: AUDIENCE as string },
})

fastify.addHook('onRequest', async (request) => {
  await request.jwtVerify()
})

fastify.get('/accounts', (request) => {
  const { iss, sub } = request.user as { iss: string; sub: string }
  return accountsOf({ issuer: iss, subject: sub })
})

await fastify.listen({ host: '127.0.0.1', port: Number(PORT) })
