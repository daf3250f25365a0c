import { randomUUID } from 'node:crypto'
import type { FastifyJWTOptions } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'

/** What @fastify/jwt is to call its decorators in one context. */
export interface JwtDecorators {
  options: Pick<FastifyJWTOptions, 'namespace' | 'decoratorName'>
  /** The name of `request.jwtVerify`. */
  verify: 'jwtVerify'
}

/**
 * @fastify/jwt's own names, unless the context inherits them from a registration above it: Fastify lets no decorator be
 * added twice on one line of contexts, and that registration has its own keys. Then names that nobody else has. Contexts
 * beside each other inherit nothing from each other.
 */
export function chooseJwtDecorators(app: FastifyInstance): JwtDecorators {
  if (!app.hasDecorator('jwt')) return { options: {}, verify: 'jwtVerify' }
  const namespace = `accessToken-${randomUUID()}`
  return { options: { namespace, decoratorName: namespace }, verify: `${namespace}JwtVerify` as 'jwtVerify' }
}
