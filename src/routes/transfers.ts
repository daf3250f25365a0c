import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { AccessToken } from '../core/access-token.js'
import type { Clock } from '../core/clock.js'
import { Refusal } from '../core/refusal.js'
import {
  type BookingOutcome,
  type Ledger,
  OutcomeUnknown,
  type Transfer,
  type TransferInstruction,
} from '../ledger/ledger.js'
import { ownerOf } from './accounts.js'
import { emptyQuerySchema, transferInstructionSchema, transferSchema } from './schemas.js'

export interface TransferRouteOptions {
  ledger: Ledger
  clock: Clock
  leewaySeconds: number
}

/** How long the ledger remembers a spent token beyond its expiry and leeway, so that a stepped clock cannot reopen it. */
const spentTokenMarginMs = 86_400_000

/** Moving money. The token and the money change together, in one transaction of the ledger. */
export const transferRoutes: FastifyPluginAsyncZod<TransferRouteOptions> = async (
  app,
  { ledger, clock, leewaySeconds },
) => {
  app.route({
    method: 'POST',
    url: '/transfers',
    config: { access: { scope: 'transfer:funds', stepUp: true, singleUse: true, transaction: 'payment_initiation' } },
    schema: {
      operationId: 'createTransfer',
      summary: 'Transfer money; the access token works once',
      tags: ['transfers'],
      querystring: emptyQuerySchema,
      body: transferInstructionSchema,
      response: { 201: transferSchema },
    },
    handler: async (request, reply) => {
      const outcome = await book(request, request.body)
      if (outcome.kind === 'token-spent') throw new Refusal('token-already-used')
      if (outcome.kind === 'key-in-use' || !outcome.tokenSpent) await app.giveBackToken(request)
      if (outcome.kind === 'key-in-use') throw new Refusal('idempotency-key-in-use')
      if (outcome.kind === 'key-reused') throw new Refusal('idempotency-key-reused')
      if (outcome.repeated) reply.header('idempotency-replayed', 'true')
      const { decision } = outcome
      if (decision.kind === 'declined') throw new Refusal(decision.reason, { occurrenceId: decision.requestId })
      return reply.code(201).header('location', `/transfers/${decision.transfer.id}`).send(toBody(decision.transfer))
    },
  })

  app.route({
    method: 'GET',
    url: '/transfers/:transferId',
    config: { access: { scope: 'read:accounts' } },
    schema: {
      operationId: 'getTransfer',
      summary: 'Read a transfer that the caller made',
      tags: ['transfers'],
      params: z.object({ transferId: z.string().describe('The transferId of a transfer.') }),
      querystring: emptyQuerySchema,
      response: { 200: transferSchema },
    },
    handler: async (request) => {
      const transfer = await ledger.transfer(ownerOf(request), request.params.transferId)
      if (transfer === undefined) throw new Refusal('not-found')
      return toBody(transfer)
    },
  })

  async function book(request: FastifyRequest, instruction: TransferInstruction): Promise<BookingOutcome> {
    const { idempotencyKey } = request
    const owner = ownerOf(request)
    const { jwtId, expiresAtSeconds } = request.accessToken as AccessToken & { jwtId: string }
    const rememberUntilMs = (expiresAtSeconds + leewaySeconds) * 1000 + spentTokenMarginMs
    // A digest for a line that nobody writes would cost more than the check.
    if (request.log.level === 'debug' || request.log.level === 'trace') {
      request.log.debug({ jtiDigest: createHash('sha256').update(jwtId).digest('base64url') }, 'consuming access token')
    }
    try {
      return await ledger.book({
        owner,
        instruction,
        token: { issuer: owner.issuer, jwtId, rememberUntilMs },
        idempotency:
          idempotencyKey === null ? undefined : { key: idempotencyKey, requestDigest: digestOf(instruction) },
        requestId: request.id,
        nowMs: clock.nowMs(),
      })
    } catch (error) {
      // Whatever else it was, nothing was booked; and should that be wrong, the ledger knows the token.
      if (!(error instanceof OutcomeUnknown)) await app.giveBackToken(request)
      throw error
    }
  }
}

/** What makes two requests the same under one Idempotency-Key: their meaning, so "1.5" and "1.50" do not differ. */
function digestOf(instruction: TransferInstruction): Buffer {
  const { debtorIban, creditorIban, creditorName, currency, amountMinorUnits, remittanceInformation } = instruction
  const meaning = [debtorIban, creditorIban, creditorName, currency, amountMinorUnits.toString(), remittanceInformation]
  return createHash('sha256')
    .update(JSON.stringify(meaning.map((part) => part ?? null)))
    .digest()
}

function toBody(transfer: Transfer): z.output<typeof transferSchema> {
  return {
    transferId: transfer.id,
    status: 'booked',
    bookedAt: new Date(transfer.bookedAtMs).toISOString(),
    debtorAccount: { iban: transfer.debtorIban },
    creditorAccount: { iban: transfer.creditorIban },
    creditorName: transfer.creditorName,
    instructedAmount: { currency: transfer.currency, amount: transfer.amount },
    remittanceInformationUnstructured: transfer.remittanceInformation,
  }
}
