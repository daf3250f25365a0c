import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'
import type { z } from 'zod'
import { type FieldFault, Refusal } from '../core/refusal.js'

/**
 * Validates parts of a request with zod, without coercion: what is a string stays one. A fault becomes a refusal that points
 * at the field (RFC 6901) and says what is expected there; it echoes neither values nor the names of unknown members.
 */
const validate: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (part) => {
    const result = schema.safeParse(part)
    if (result.success) return { value: result.data }
    const fieldFaults = result.error.issues.map(({ path, message }): FieldFault => {
      const pointer = path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
      return { pointer: httpPart === 'querystring' ? `?${pointer.slice(1)}` : pointer, expected: message }
    })
    return { error: new Refusal('invalid-input', { fieldFaults }) }
  }
}

/**
 * Fastify's `schemaController` for routes whose schemas are zod's. Answers are written as they are: typed code builds them and
 * tests hold them against their schemas. Given at construction, because Fastify would load its own compilers first.
 */
export const zodSchemaController: NonNullable<FastifyServerOptions['schemaController']> = {
  compilersFactory: { buildValidator: () => validate as never, buildSerializer: () => () => JSON.stringify },
}
