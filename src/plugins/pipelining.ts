import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { httpLimits } from '../core/http-limits.js'

/**
 * Gives pipelined requests their turn: one that may change something begins when the answers before it have been sent (RFC 9112
 * §9.3.2), so nothing is carried out behind an answer that ends the connection (§9.6). A connection with too many requests
 * whose answers cannot be sent yet is cut, because each of them takes memory.
 */
export default fp(
  async (app: FastifyInstance) => {
    const waiting = new WeakMap<Socket, number>()
    app.addHook('onRequest', (request, reply, done) => {
      // Node gives a response its socket when those before it have been sent.
      if (reply.raw.socket !== null) {
        done()
        return
      }
      const { socket, method } = request.raw
      const count = (waiting.get(socket) ?? 0) + 1
      if (count > httpLimits.pipelinedRequests) {
        socket.destroy()
        return
      }
      waiting.set(socket, count)
      const isSafe = method === 'GET' || method === 'HEAD'
      reply.raw.once('socket', () => {
        waiting.set(socket, (waiting.get(socket) as number) - 1)
        if (!isSafe) done()
      })
      if (isSafe) done()
    })
  },
  { name: 'pipelining', fastify: '5.x' },
)
