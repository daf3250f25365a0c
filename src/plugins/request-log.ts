import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { LoggerOptions } from 'pino'

/**
 * pino's options for this server. Requests are named by route pattern, never by address, since a token can stand in its
 * query; errors by type, code and stack without the properties that libraries attach, such as a raw packet.
 */
export function loggerOptions(level: string): LoggerOptions {
  return {
    level,
    serializers: {
      req: ({ method, routeOptions }) => ({ method, route: routeOptions?.url }),
      res: ({ statusCode }) => ({ statusCode }),
      err: serializeError,
    },
  }
}

interface LoggedError {
  type: string
  code: unknown
  stack: string | undefined
  cause: LoggedError | undefined
  errors: (LoggedError | undefined)[] | undefined
}

function serializeError(error: unknown): LoggedError | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, errors } = error as { code?: unknown; errors?: unknown[] }
  const { name: type, stack, cause } = error
  return { type, code, stack, cause: serializeError(cause), errors: errors?.map(serializeError) }
}

/** Writes one line a request when it ends: at `info`, but successful reads only at `debug`. */
export default fp(
  async (app: FastifyInstance) => {
    app.addHook('onResponse', (request, reply, done) => {
      const { statusCode } = reply
      const quiet = statusCode < 400 && (request.method === 'GET' || request.method === 'HEAD')
      request.log[quiet ? 'debug' : 'info'](
        {
          method: request.method,
          route: request.routeOptions.url,
          statusCode,
          problem: reply.problem ?? undefined,
          durationMs: Math.round(reply.elapsedTime * 100) / 100,
        },
        'request ended',
      )
      done()
    })
  },
  { name: 'request-log', fastify: '5.x', dependencies: ['problem'] },
)
