import type { CustomFetchOptions, ProtectedResourceRequestBody } from 'oauth4webapi'

/** One thing that happened, for the panel. Holds no token, no proof, no code and no verifier: digests at most. */
export interface TraceEntry {
  readonly kind: 'answer' | 'refusal' | 'leave' | 'token' | 'note'
  readonly title: string
  /** Terms and what they are. */
  readonly details: readonly (readonly [term: string, text: string])[]
}

const storageName = 'trace'
const maxEntries = 60
const listeners = new Set<() => void>()

/** What happened in this tab so far, oldest first. It survives redirects, since the story goes on after them. */
export function readTrace(): TraceEntry[] {
  return JSON.parse(sessionStorage.getItem(storageName) ?? '[]')
}

/** Adds an entry; the oldest goes when there are too many. */
export function trace(kind: TraceEntry['kind'], title: string, details: TraceEntry['details'] = []): void {
  sessionStorage.setItem(storageName, JSON.stringify([...readTrace(), { kind, title, details }].slice(-maxEntries)))
  for (const listener of listeners) listener()
}

/** Calls back after each entry. */
export function onTrace(listener: () => void): void {
  listeners.add(listener)
}

/** Names a token without giving it away. */
export async function digestOf(token: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)))
  const hex = Array.from(hash.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return `sha256:${hex}…`
}

/** Nobody answered. Whether the request arrived is not known. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
  readonly origin: string

  constructor(origin: string, options: ErrorOptions) {
    super(`${origin} did not answer`, options)
    this.origin = origin
  }
}

/** After this long without a whole answer nobody waits any more. */
const maxWaitMs = 30_000
const shownFields = ['WWW-Authenticate', 'Location', 'Idempotency-Replayed', 'Retry-After']

/** `fetch`, with a limit of time and a note of what was sent and what came back. Throws Unreachable. */
export async function tracedFetch(
  address: string,
  { body, signal, ...request }: CustomFetchOptions<string, ProtectedResourceRequestBody>,
): Promise<Response> {
  const { method } = request
  const sent = new Headers(request.headers)
  const details: [string, string][] = []
  const authorization = sent.get('authorization')
  if (authorization !== null) {
    const [scheme, token = ''] = authorization.split(' ')
    details.push(['Authorization', `${scheme} ${await digestOf(token)}`])
  }
  if (sent.has('dpop')) details.push(['DPoP', 'a proof for this request'])
  const key = sent.get('idempotency-key')
  if (key !== null) details.push(['Idempotency-Key', key])
  const { origin, pathname } = new URL(address)
  const title = `${method} ${pathname}`
  let response: Response
  try {
    response = await fetch(address, {
      ...request,
      body: (body as BodyInit | undefined) ?? null,
      signal: signal ?? AbortSignal.timeout(maxWaitMs),
    })
  } catch (error) {
    trace('refusal', `${title} → no answer`, details)
    throw new Unreachable(origin, { cause: error })
  }
  for (const name of shownFields) {
    const value = response.headers.get(name)
    if (value !== null) details.push([name, value])
  }
  // Where the servers have their endpoints is nothing that happens.
  if (!pathname.startsWith('/.well-known/')) {
    trace(response.ok ? 'answer' : 'refusal', `${title} → ${response.status}`, details)
  }
  return response
}
