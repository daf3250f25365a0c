import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type DestinationStream, destination, type LoggerOptions, pino } from 'pino'

const writtenTogetherBytes = 4096
const longestDelayMs = 100
const maxUnwrittenBytes = 8_388_608
/** One for all apps of a process, so that their lines do not mix. */
let standardOutput: DestinationStream | undefined

/**
 * pino's options for this server. Errors are named by type, code and stack, without the properties that libraries attach, such as a raw packet.
 * Lines go to standard output, many at once and at most 100 ms late, since a write for each would cost as much as what it tells of.
 * They are written out when the process exits; one that is killed or aborts loses those of the last 100 ms. When nobody reads them,
 * those beyond 8 MiB are dropped, and counted in a line at `warn` once somebody does, unless the process has ended by then.
 */
export function loggerOptions(level: string): LoggerOptions & { stream: DestinationStream } {
  standardOutput ??= openStandardOutput(level)
  return { level, serializers: { err: serializeError }, stream: standardOutput }
}

function openStandardOutput(level: string): DestinationStream {
  const stream = destination({
    dest: 1,
    sync: false,
    minLength: writtenTogetherBytes,
    periodicFlush: longestDelayMs,
    maxLength: maxUnwrittenBytes,
  })
  const log = pino({ level }, stream)
  let dropped = 0
  stream.on('drop', () => {
    dropped += 1
  })
  stream.on('drain', () => {
    if (dropped === 0) return
    log.warn({ dropped }, 'log lines were dropped, since nobody read standard output')
    dropped = 0
  })
  return stream
}

const mostNames = 5

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

/** An error and its causes in one line, by their names and codes alone. */
export function nameErrors(error: unknown): string {
  const names: string[] = []
  for (let next = error; next instanceof Error && names.length < mostNames; next = next.cause) {
    const { code } = next as { code?: unknown }
    names.push(typeof code === 'string' ? `${next.name} ${code}` : next.name)
  }
  return names.join(' because of ')
}

/** Writes one line a request when it ends: at `info`, but successful reads only at `debug`, and what met an outage at `warn`. */
export default fp(
  async (app: FastifyInstance) => {
    app.addHook('onResponse', (request, reply, done) => {
      logRequestEnd(request, reply)
      done()
    })
  },
  { name: 'request-log', fastify: '5.x', dependencies: ['problem'] },
)

/** The line itself; also for answers that no hook sees. */
export function logRequestEnd(request: FastifyRequest, reply: FastifyReply): void {
  const { method, routeOptions, log } = request
  const { statusCode } = reply
  const quiet = statusCode < 400 && (method === 'GET' || method === 'HEAD')
  // A line that nobody writes would cost a read more than its authorization does.
  if (quiet && log.level !== 'debug' && log.level !== 'trace') return
  const [problem, outage] = [reply.problem ?? undefined, reply.outage ?? undefined]
  const level = outage !== undefined ? 'warn' : quiet ? 'debug' : 'info'
  const durationMs = Math.round(reply.elapsedTime * 100) / 100
  log[level]({ method, route: routeOptions.url, statusCode, problem, outage, durationMs }, 'request ended')
}
