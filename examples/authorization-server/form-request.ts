import type { IncomingMessage } from 'node:http'

const maxFormBytes = 4096

/** A form that is not taken, with the HTTP status that says why. */
export class FormError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'FormError'
    this.status = status
  }
}

/**
 * Reads a form that one of our own pages sent. Throws FormError: 403 when another site sent it, 415 when it is no form,
 * 411 without a length, 413 when it is over 4 KiB (nothing of it is read then).
 */
export async function readForm(request: IncomingMessage, ownOrigin: string): Promise<URLSearchParams> {
  if (!isSameOrigin(request, ownOrigin)) throw new FormError(403, 'This form came from another site.')
  const [mediaType] = (request.headers['content-type'] ?? '').split(';')
  if (mediaType?.trim().toLowerCase() !== 'application/x-www-form-urlencoded') {
    throw new FormError(415, 'Only forms are taken here.')
  }
  // With a length, Node's parser reads no more than that, so the limit needs no counting.
  const length = request.headers['content-length']
  if (length === undefined) throw new FormError(411, 'The form has no length.')
  if (Number(length) > maxFormBytes) throw new FormError(413, 'The form is too large.')
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
}

/**
 * Every browser of today sends Origin with a form, and most say Sec-Fetch-Site. A request with neither comes from no
 * browser, so no one's cookies were borrowed. The SameSite attribute of the interaction's cookie is the other half.
 */
function isSameOrigin({ headers }: IncomingMessage, ownOrigin: string): boolean {
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  const origin = headers.origin ?? ownOrigin
  return site === 'same-origin' && origin === ownOrigin
}
