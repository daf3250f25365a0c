import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Refusal } from '../core/refusal.js'
import { answerConnectionError } from './connection-errors.js'

/**
 * What Node would answer by itself, in a form of its own, is decided here instead: an HTTP/1.1 request without exactly one
 * Host field is malformed (RFC 9112 §3.2), CONNECT is refused, and an expectation that is not known is ignored, as RFC 9110 §10.1.1 allows.
 * Needs a server with `requireHostHeader: false`. What the Host field says is never looked at.
 */
export default fp(
  async (app: FastifyInstance, { publicUrl }: { publicUrl: string }) => {
    app.server.on('connect', (_request, socket: Socket) => {
      answerConnectionError(new Error('CONNECT is not served'), socket, publicUrl)
    })
    app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
    app.addHook('onRequest', async ({ raw }) => {
      const hosts = raw.rawHeaders.filter((field, index) => index % 2 === 0 && field.toLowerCase() === 'host')
      if (raw.httpVersion === '1.1' && hosts.length !== 1) throw new Refusal('malformed-request')
    })
  },
  { name: 'http-conformance', fastify: '5.x', dependencies: ['problem'] },
)
