import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { buildProblemDocument } from '../core/problem-document.js'
import { findProblem, type ProblemName } from '../core/problems.js'
import { fixedHeaders } from './response-headers.js'

const problemByCode: Readonly<Record<string, ProblemName>> = {
  HPE_HEADER_OVERFLOW: 'headers-too-large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'payload-too-large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request-timeout',
}

/** The response that Node is writing to a connection, if any; there is no public way to ask. */
type BusySocket = Socket & { _httpMessage?: ServerResponse | null }

/**
 * Answers what Node's HTTP parser refuses before Fastify sees a request, in the same form as every other refusal. The
 * error is not logged: it holds the raw bytes, which may hold a token. Where garbage follows whole requests, each of
 * them gets its own answer first. Does nothing on a connection that is gone.
 */
export function answerConnectionError(error: NodeJS.ErrnoException, socket: Socket, publicUrl: string): void {
  const { _httpMessage: pending } = socket as BusySocket
  if (pending?.req.complete === true) pending.once('finish', () => answerConnectionError(error, socket, publicUrl))
  else refuseConnection(error, socket, publicUrl)
}

function refuseConnection({ code = '' }: NodeJS.ErrnoException, socket: Socket, publicUrl: string): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const name = problemByCode[code] ?? 'malformed-request'
  const { status, title } = findProblem(name)
  const body = JSON.stringify(buildProblemDocument(name, { publicUrl, requestId: randomUUID() }))
  const headers = {
    ...fixedHeaders(publicUrl),
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([field, value]) => `${field}: ${value}`)
  socket.end([`HTTP/1.1 ${status} ${title}`, ...lines, '', body].join('\r\n'))
}
