import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { hasUniqueNames } from '../core/json-text.js'
import { Refusal } from '../core/refusal.js'

const notUnique = { pointer: '', expected: 'a JSON text in which no member name stands twice in one object' }
const notUtf8 = { pointer: '', expected: 'a JSON text in UTF-8' }

/**
 * Takes bodies in `application/json` alone, and only what every parser reads alike: in UTF-8 (RFC 8259 §8.1), with unique member
 * names, without names that reach a prototype. No content coding is decoded; one is refused with 415 (RFC 9110 §15.5.16).
 */
export default fp(
  async (app: FastifyInstance) => {
    const parse = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes: Buffer, done) => {
      const coding = request.headers['content-encoding'] ?? 'identity'
      if (coding.toLowerCase() !== 'identity') return done(new Refusal('unsupported-media-type'))
      if (!isUtf8(bytes)) return done(new Refusal('invalid-input', { fieldFaults: [notUtf8] }))
      const text = bytes.toString('utf8')
      void parse(request, text, (error, value) => {
        if (error === null && !hasUniqueNames(text, value))
          return done(new Refusal('invalid-input', { fieldFaults: [notUnique] }))
        done(error, value)
      })
    })
  },
  { name: 'json-body', fastify: '5.x', dependencies: ['problem'] },
)
