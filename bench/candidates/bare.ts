import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import Fastify, { type FastifyRequest } from 'fastify'
import { openAccountQuery, openSingleAccountQuery } from './accounts.js'

/**
 * The baselines: Fastify without authentication. GET /accounts answers `STATIC_ANSWER` or else runs the account query for
 * `SUBJECT`, with `SINGLE_QUERY` in a statement of its own; POST /transfers parses the JSON body and answers a fixed 201. With
 * `VERIFY_KEYS`, PEM public keys in a JSON array, one signature is verified first and nothing else: that of the JWT which ends
 * the header field `VERIFY_FIELD`, with the key that the field `x-client` counts out, or the first.
 */
const {
  PORT,
  DATA_DIR,
  ISSUER,
  SUBJECT,
  STATIC_ANSWER,
  SINGLE_QUERY,
  VERIFY_KEYS = '[]',
  VERIFY_FIELD = 'authorization',
} = process.env
const keys = (JSON.parse(VERIFY_KEYS) as string[]).map((pem) => createPublicKey(pem))
const booked = {
  transferId: '6f1a9f43-1d4c-4e7e-9f4e-2b7a3c1d5e60',
  status: 'booked',
  bookedAt: '2026-01-01T00:00:00.000Z',
  debtorAccount: { iban: 'DE89370400440532013000' },
  creditorAccount: { iban: 'GB33BUKB20201555555555' },
  instructedAmount: { currency: 'EUR', amount: '0.01' },
}

const app = Fastify()
if (keys.length > 0) {
  app.addHook('onRequest', async (request, reply) => {
    if (!isSigned(request)) return reply.code(401).send()
  })
}
if (STATIC_ANSWER === undefined) {
  const open = SINGLE_QUERY === undefined ? openAccountQuery : openSingleAccountQuery
  const accountsOf = await open(DATA_DIR as string)
  const owner = { issuer: ISSUER as string, subject: SUBJECT as string }
  app.get('/accounts', () => accountsOf(owner))
} else {
  const answer = JSON.parse(STATIC_ANSWER)
  app.get('/accounts', async () => answer)
}
app.post('/transfers', async (_request, reply) => reply.code(201).send(booked))
await app.listen({ host: '127.0.0.1', port: Number(PORT) })

function isSigned({ headers }: FastifyRequest): boolean {
  const field = String(headers[VERIFY_FIELD])
  const token = field.slice(field.indexOf(' ') + 1)
  const end = token.lastIndexOf('.')
  const key = keys[Number(headers['x-client'] ?? 0)] as KeyObject
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  return verify(digest, Buffer.from(token.slice(0, end)), { key, dsaEncoding: 'ieee-p1363' }, signature)
}
