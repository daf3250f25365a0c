import type { FastifyInstance } from 'fastify'
import { type Clock, systemClock } from 'stepgate'
import { acr } from '../authorization-server/step-up-rule.js'
import type { IntranetClient } from './client.js'
import { buildIntranet, type IntranetOptions } from './intranet.js'
import { createOpenIdProvider } from './openid-provider.js'

/** What opens the page of the employees: the MFA class of the authorization server, or its rule's own claim; within a quarter of an hour. */
export const intranetStepUp = {
  acrValues: [acr.multiFactor],
  amr: [],
  claim: { name: 'authentication_level', value: 'mfa' },
  maxAgeSeconds: 900,
} as const

/** What to start. */
export interface StartIntranetOptions extends Pick<IntranetOptions, 'logger'> {
  readonly host: string
  readonly port: number
  readonly issuer: string
  /** From `createIntranetClient`, known to the authorization server. */
  readonly client: IntranetClient
  readonly clock?: Clock
}

/** Starts the intranet on loopback, where http will do. It listens whether or not the authorization server is up. Rejects with EADDRINUSE for a port that is taken. */
export async function startIntranet(options: StartIntranetOptions): Promise<FastifyInstance> {
  const { host, port, issuer, client, clock = systemClock, logger } = options
  const publicUrl = `http://${host}:${port}`
  const provider = createOpenIdProvider({
    issuer,
    clientId: client.metadata.client_id,
    privateKey: client.privateKey,
    redirectUri: `${publicUrl}/callback`,
    postLogoutRedirectUri: `${publicUrl}/signed-out`,
  })
  const stepUp = intranetStepUp
  const app = await buildIntranet({
    publicUrl,
    issuer,
    provider,
    stepUp,
    clock,
    ...(logger !== undefined && { logger }),
  })
  await app.listen({ host, port })
  return app
}
