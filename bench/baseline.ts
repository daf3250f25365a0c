import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import Fastify from 'fastify'

/**
 * What stands beside the server in benchmarks: a bare Fastify route that parses the JSON body of a transfer and answers a
 * fixed 201. With `VERIFY_KEY`, a PEM public key, it verifies the RS256 signature of the bearer token first, and nothing else.
 */
const { PORT, VERIFY_KEY } = process.env
const publicKey = VERIFY_KEY === undefined ? undefined : createPublicKey(VERIFY_KEY)
const answer = {
  transferId: '6f1a9f43-1d4c-4e7e-9f4e-2b7a3c1d5e60',
  status: 'booked',
  bookedAt: '2026-01-01T00:00:00.000Z',
  debtorAccount: { iban: 'DE89370400440532013000' },
  creditorAccount: { iban: 'GB33BUKB20201555555555' },
  instructedAmount: { currency: 'EUR', amount: '0.01' },
}

const app = Fastify()
app.get('/livez', async () => ({ status: 'ok' }))
app.post('/transfers', async (request, reply) => {
  if (publicKey !== undefined && !isSigned(request.headers.authorization, publicKey)) return reply.code(401).send()
  return reply.code(201).send(answer)
})
await app.listen({ host: '127.0.0.1', port: Number(PORT) })

function isSigned(authorization = '', publicKey: KeyObject): boolean {
  const token = authorization.slice('Bearer '.length)
  const end = token.lastIndexOf('.')
  return verify('sha256', Buffer.from(token.slice(0, end)), publicKey, Buffer.from(token.slice(end + 1), 'base64url'))
}
