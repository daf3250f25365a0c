import type { FastifyReply, FastifyRequest } from 'fastify'
import { pendingSeconds } from './pending-sign-ins.js'

/** The two cookies of the intranet. Each holds a secret that means nothing outside of the server's memory. */
export interface Cookies {
  readSession(request: FastifyRequest): string | undefined
  writeSession(reply: FastifyReply, id: string): void
  clearSession(reply: FastifyReply): void
  /** Names the browser while a sign-in is under way, before there is a session. */
  readBrowser(request: FastifyRequest): string | undefined
  writeBrowser(reply: FastifyReply, secret: string): void
}

/**
 * No script reads them, and no form of another site sends them. Lax and not Strict, since the way back from the authorization server
 * comes from another site. On https they are Secure and carry the prefix `__Host-` (RFC 6265bis §4.1.3.2), so no sibling host
 * can plant one.
 */
export function createCookies(publicUrl: string): Cookies {
  const secure = publicUrl.startsWith('https:')
  const prefix = secure ? '__Host-' : ''
  const session = `${prefix}fabrikam_session`
  const browser = `${prefix}fabrikam_sign_in`
  const attributes = { path: '/', httpOnly: true, sameSite: 'lax', secure } as const
  return {
    readSession: ({ cookies }) => cookies[session],
    writeSession: (reply, id) => void reply.setCookie(session, id, attributes),
    clearSession: (reply) => void reply.clearCookie(session, attributes),
    readBrowser: ({ cookies }) => cookies[browser],
    writeBrowser: (reply, secret) => void reply.setCookie(browser, secret, { ...attributes, maxAge: pendingSeconds }),
  }
}
