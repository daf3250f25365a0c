import type { FastifyReply, FastifyRequest } from 'fastify'

/** The cookies of the intranet: one with the id of the session, and one for each sign-in under way, named after its `state`. */
export interface Cookies {
  readSession(request: FastifyRequest): string | undefined
  writeSession(reply: FastifyReply, id: string): void
  clearSession(reply: FastifyReply): void
  /** What the browser sends of the sign-ins that it began, by `state`. Unchecked. */
  readSignIns(request: FastifyRequest): ReadonlyMap<string, string>
  writeSignIn(reply: FastifyReply, state: string, value: string): void
  clearSignIn(reply: FastifyReply, state: string): void
}

/**
 * No script reads them, and no form of another site sends them. Lax and not Strict, since the way back from the authorization server
 * comes from another site. On https they are Secure and carry the prefix `__Host-` (RFC 6265bis §4.1.3.2), so no sibling host
 * can plant one.
 */
export function createCookies(publicUrl: string, { signInSeconds }: { signInSeconds: number }): Cookies {
  const secure = publicUrl.startsWith('https:')
  const prefix = secure ? '__Host-' : ''
  const session = `${prefix}fabrikam_session`
  const signIn = `${prefix}fabrikam_sign_in_`
  const attributes = { path: '/', httpOnly: true, sameSite: 'lax', secure } as const
  return {
    readSession: ({ cookies }) => cookies[session],
    writeSession: (reply, id) => void reply.setCookie(session, id, attributes),
    clearSession: (reply) => void reply.clearCookie(session, attributes),
    readSignIns({ cookies }) {
      const named = Object.entries(cookies).filter(([name]) => name.startsWith(signIn))
      const byState = named.map(([name, value = '']) => [name.slice(signIn.length), value] as const)
      return new Map(byState.filter(([state]) => /^[\w-]{43}$/.test(state)))
    },
    writeSignIn: (reply, state, value) =>
      void reply.setCookie(signIn + state, value, { ...attributes, maxAge: signInSeconds }),
    clearSignIn: (reply, state) => void reply.clearCookie(signIn + state, attributes),
  }
}
