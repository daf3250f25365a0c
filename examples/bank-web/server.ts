import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'

/** What the page is told of the world. */
export interface BankWebOptions {
  /** Origin of the API. */
  readonly apiUrl: string
  /** The authorization server. */
  readonly issuer: string
  readonly clientId: string
}

const files = {
  'main.js': 'text/javascript; charset=utf-8',
  'style.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const

/**
 * Serves the bank's front end: one page, one script, one stylesheet, one picture. It holds no session and sees no token; all
 * of that is between the browser, the API and the authorization server. Does not listen yet.
 */
export function buildBankWeb({ apiUrl, issuer, clientId }: BankWebOptions): FastifyInstance {
  const app = Fastify()
  const page = Object.entries({ api: apiUrl, issuer, client: clientId }).reduce(
    (text, [name, value]) => text.replace(`{{${name}}}`, escapeAttribute(value)),
    readPublic('index.html').toString('utf8'),
  )
  const policy = contentSecurityPolicy([apiUrl, issuer])
  app.addHook('onSend', async (_request, reply) => {
    reply.headers({
      'Content-Security-Policy': policy,
      'X-Content-Type-Options': 'nosniff',
      // The address holds a code for a moment, which is nobody else's business.
      'Referrer-Policy': 'no-referrer',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cache-Control': 'no-cache',
    })
  })
  for (const path of ['/', '/callback']) {
    app.get(path, (_request, reply) => reply.type('text/html; charset=utf-8').send(page))
  }
  for (const [name, type] of Object.entries(files)) {
    const content = readPublic(name)
    app.get(`/${name}`, (_request, reply) => reply.type(type).send(content))
  }
  return app
}

/**
 * Nothing but our own script, stylesheet and picture; requests to the API and the authorization server alone; no markup
 * from text (Trusted Types), no frames, no forms that a browser would send by itself.
 */
function contentSecurityPolicy(servers: readonly string[]): string {
  const connectable = servers.map((address) => new URL(address).origin).join(' ')
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src ${connectable}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

function readPublic(name: string): Buffer {
  return readFileSync(new URL(`./public/${name}`, import.meta.url))
}

function escapeAttribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}
