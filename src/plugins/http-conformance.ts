import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { readFields } from '../core/credentials.js'
import { httpLimits } from '../core/http-limits.js'
import { Refusal } from '../core/refusal.js'
import { answerConnectionError } from './connection-errors.js'

/** RFC 9110 §7.2: a host, which may be empty, and a port, of the characters that RFC 3986 §3.2 allows there. */
const hostPattern = /^(?:[\w.~!$&'()*+,;=%-]*|\[[\da-f:.]+\])(?::\d*)?$/i

/**
 * What Node would answer by itself, in a form of its own, or let pass, is decided here instead. Malformed are a version other than
 * 1.0 and 1.1, an HTTP/1.1 request without exactly one Host field, a Host field that cannot be one (RFC 9112 §3.2), and a
 * transfer coding in HTTP/1.0 (§6.1). CONNECT is refused, and an expectation that is not known is ignored, as RFC 9110 §10.1.1
 * allows. Needs a server with `requireHostHeader: false`. Which host is named never matters.
 */
export default fp(
  async (app: FastifyInstance, { publicUrl }: { publicUrl: string }) => {
    app.server.on('connect', (_request, socket: Socket) => {
      // Node has taken its own listeners away: without these an error would end the process, and silence last for ever.
      const destroy = socket.destroy.bind(socket)
      socket.on('error', destroy).once('finish', destroy).setTimeout(httpLimits.silenceTimeoutMs, destroy)
      answerConnectionError(new Error('CONNECT is not served'), socket, publicUrl)
    })
    app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
    app.addHook('onRequest', ({ raw }, reply, done) => {
      if (isWellFormed(raw)) return done()
      reply.header('connection', 'close')
      done(new Refusal('malformed-request'))
    })
  },
  { name: 'http-conformance', fastify: '5.x', dependencies: ['problem'] },
)

function isWellFormed({ httpVersion, rawHeaders, headers }: IncomingMessage): boolean {
  const hosts = readFields(rawHeaders, 'host')
  if (!hosts.every((host) => hostPattern.test(host))) return false
  if (httpVersion === '1.1') return hosts.length === 1
  return httpVersion === '1.0' && hosts.length <= 1 && headers['transfer-encoding'] === undefined
}
