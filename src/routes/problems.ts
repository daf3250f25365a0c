import { createHash } from 'node:crypto'
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { findProblem, isProblemName } from '../core/problems.js'
import { Refusal } from '../core/refusal.js'

const style = `:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem } dd { margin: 0 }`
const styleHash = createHash('sha256').update(style).digest('base64')
const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${styleHash}'; frame-ancestors 'none'`

/** The address behind every problem `type`: a page that explains the refusal and what to do next. */
export const problemRoutes: FastifyPluginAsyncZod = async (app) => {
  app.route({
    method: 'GET',
    url: '/problems/:name',
    config: { access: 'public' },
    schema: {
      operationId: 'getProblem',
      summary: 'Explain a problem type',
      tags: ['documentation'],
      params: z.object({ name: z.string().describe('The last segment of a problem type.') }),
      response: { 200: { description: 'A page for people.', content: { 'text/html': { schema: z.string() } } } },
    },
    handler: async (request, reply) => {
      const { name } = request.params
      if (!isProblemName(name)) throw new Refusal('unknown-path')
      reply.header('content-security-policy', contentSecurityPolicy)
      return reply.type('text/html; charset=utf-8').send(renderPage(name))
    },
  })
}

function renderPage(name: Parameters<typeof findProblem>[0]): string {
  const { status, title, detail, remedy, error } = findProblem(name)
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style>${style}</style></head>
<body>
<main>
<h1>${title}</h1>
<p>${escapeHtml(detail)}.</p>
<p><strong>What to do:</strong> ${escapeHtml(remedy)}</p>
<dl><dt>Status</dt><dd>${status}</dd><dt>Problem</dt><dd><code>${name}</code></dd>${error === undefined ? '' : `<dt>OAuth error</dt><dd><code>${error}</code></dd>`}</dl>
</main>
</body>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
