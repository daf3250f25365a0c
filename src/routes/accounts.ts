import type { FastifyRequest } from 'fastify'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { AccessToken } from '../core/access-token.js'
import { currencyDigits } from '../core/currencies.js'
import { formatAmount } from '../core/money.js'
import { Refusal } from '../core/refusal.js'
import type { Account, AccountEntry, Ledger, Owner } from '../ledger/ledger.js'
import {
  accountListSchema,
  accountSchema,
  emptyQuerySchema,
  pageQuerySchema,
  transactionListSchema,
} from './schemas.js'

const access = { scope: 'read:accounts' } as const
const accountParameters = z.object({ resourceId: z.string().describe('The resourceId of an account.') })

/** Reading accounts. A caller sees the accounts of its own subject; another's look like none at all. */
export const accountRoutes: FastifyPluginAsyncZod<{ ledger: Ledger }> = async (app, { ledger }) => {
  app.route({
    method: 'GET',
    url: '/accounts',
    config: { access },
    schema: {
      operationId: 'listAccounts',
      summary: "List the caller's accounts",
      tags: ['accounts'],
      querystring: emptyQuerySchema,
      response: { 200: accountListSchema },
    },
    handler: async (request) => ({ accounts: (await ledger.accountsOf(ownerOf(request))).map(toBody) }),
  })

  app.route({
    method: 'GET',
    url: '/accounts/:resourceId',
    config: { access },
    schema: {
      operationId: 'getAccount',
      summary: 'Read one account',
      tags: ['accounts'],
      params: accountParameters,
      querystring: emptyQuerySchema,
      response: { 200: accountSchema },
    },
    handler: async (request) => {
      const account = await ledger.account(ownerOf(request), request.params.resourceId)
      if (account === undefined) throw new Refusal('not-found')
      return toBody(account)
    },
  })

  app.route({
    method: 'GET',
    url: '/accounts/:resourceId/transactions',
    config: { access },
    schema: {
      operationId: 'listTransactions',
      summary: 'List the transactions of an account, newest first',
      tags: ['accounts'],
      params: accountParameters,
      querystring: pageQuerySchema,
      response: { 200: transactionListSchema },
    },
    handler: async (request) => {
      const { limit, cursor } = request.query
      const owner = ownerOf(request)
      // One entry more than asked for tells whether there is a next page.
      const entries = await ledger.entriesOf(owner, request.params.resourceId, { limit: limit + 1, before: cursor })
      if (entries === undefined) throw new Refusal('not-found')
      const page = entries.slice(0, limit)
      return {
        transactions: page.map(toTransaction),
        nextCursor: entries.length > limit ? page.at(-1)?.number.toString() : undefined,
      }
    },
  })
}

/** The subject for whom a protected route's verified token speaks. */
export function ownerOf({ accessToken }: FastifyRequest): Owner {
  const { issuer, subject } = accessToken as AccessToken
  return { issuer, subject }
}

function toBody({ id, iban, name, currency, balanceMinorUnits }: Account): z.output<typeof accountSchema> {
  return { resourceId: id, iban, name, currency, balance: toAmount(currency, balanceMinorUnits) }
}

function toTransaction(entry: AccountEntry): z.output<typeof transactionListSchema>['transactions'][number] {
  return {
    transferId: entry.transferId,
    bookedAt: new Date(entry.bookedAtMs).toISOString(),
    counterparty: { iban: entry.counterpartyIban },
    amount: toAmount(entry.currency, entry.amountMinorUnits),
    remittanceInformationUnstructured: entry.remittanceInformation,
  }
}

function toAmount(currency: string, minorUnits: bigint): { currency: string; amount: string } {
  return { currency, amount: formatAmount(minorUnits, currencyDigits(currency) as number) }
}
