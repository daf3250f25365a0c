import { html, type Markup, trusted } from './html.js'
import { contentSecurityPolicy, style } from './page-style.js'
import type { SecondFactorQuestion } from './second-factor.js'

/** A page: what stands in the title and the first heading, and what follows it. */
export interface Page {
  readonly title: string
  readonly content: Markup
  /** An error changes the title too, since that is what a screen reader says first. */
  readonly hasError?: boolean
}

/** The part of Koa's context that a page needs. */
export interface PageContext {
  status: number
  body: unknown
  set(headers: Record<string, string>): void
}

/** Where the client of this interaction lives, for `form-action`: an origin, or a scheme for a native app's own one. */
export function formTargetOf(redirectUri: unknown): string | undefined {
  if (typeof redirectUri !== 'string' || !URL.canParse(redirectUri)) return undefined
  const { origin, protocol } = new URL(redirectUri)
  return origin === 'null' ? protocol : origin
}

/** Answers with a page that is stored nowhere, framed by no one, and runs no script. */
export function writePage(ctx: PageContext, page: Page, options: { status?: number; formTarget?: string } = {}): void {
  ctx.status = options.status ?? 200
  ctx.set({
    'Content-Type': 'text/html; charset=utf-8',
    'Cache-Control': 'no-store',
    'Content-Security-Policy': contentSecurityPolicy(options.formTarget),
    'X-Content-Type-Options': 'nosniff',
    // Not "no-referrer": under that policy browsers send "Origin: null" with a form, and we check the origin.
    'Referrer-Policy': 'same-origin',
  })
  const { title, content, hasError = false } = page
  ctx.body = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${hasError ? 'Error: ' : ''}${title} · Stepgate Bank</title>
<style>${trusted(style)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`.markup
}

/** User name and password. `username` is filled in when the client gave a hint, or after a failure. */
export function loginPage(options: { clientName: string; username: string; error?: string }): Page {
  const { clientName, username, error } = options
  return {
    title: 'Sign in',
    hasError: error !== undefined,
    content: html`
<p>${clientName} asks who you are.</p>
${describeError(error)}
<form method="post">
<label for="username">User name</label>
<input id="username" name="username" value="${username}" autocomplete="username" autocapitalize="none" spellcheck="false" required${describedBy(error)}${autofocus(username === '')}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required${describedBy(error)}${autofocus(username !== '')}>
${buttons('Sign in')}
</form>`,
  }
}

/** The second factor, with what the client wants it for. `payments` lists what the user is about to authorise. */
export function secondFactorPage(options: {
  clientName: string
  username: string
  payments: readonly (readonly [term: string, description: string])[][]
  question: SecondFactorQuestion
}): Page {
  const { clientName, username, payments, question } = options
  const { label, hint, input, enrolment, error } = question
  const isForPayment = payments.length > 0
  const request = isForPayment ? 'asks you to approve this payment:' : 'needs one more proof that it is you.'
  return {
    title: isForPayment ? 'Approve this payment' : 'Confirm that it is you',
    hasError: error !== undefined,
    content: html`
<p>You are signed in as ${username}. ${clientName} ${request}</p>
${payments.map(describePayment)}
${enrolment}
${describeError(error)}
<form method="post">
<label for="answer">${label}</label>
<p id="hint" class="hint">${hint}</p>
<input id="answer" name="answer" inputmode="${input.inputmode}" autocomplete="${input.autocomplete}" required${describedBy(error, 'hint')}${autofocus(enrolment === undefined)}>
${buttons('Confirm')}
</form>`,
  }
}

/** A page without a form. */
export function messagePage(title: string, text: string): Page {
  return { title, content: html`<p>${text}</p>` }
}

/** Asks whether to sign out. `form` is oidc-provider's own, with its token against cross-site requests. */
export function signOutPage(form: string): Page {
  return {
    title: 'Sign out?',
    content: html`
${trusted(form)}
<button class="primary" type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>
<button type="submit" form="op.logoutForm">Stay signed in</button>`,
  }
}

function describePayment(payment: readonly (readonly [term: string, description: string])[]): Markup {
  return html`<dl>${payment.map(([term, description]) => html`<dt>${term}</dt><dd>${description}</dd>`)}</dl>`
}

function describeError(error: string | undefined): Markup {
  return error === undefined ? trusted('') : html`<p id="error" class="error" role="alert">${error}</p>`
}

function describedBy(error: string | undefined, ...ids: string[]): Markup {
  const all = error === undefined ? ids : ['error', ...ids]
  const invalid = error === undefined ? '' : ' aria-invalid="true"'
  return trusted(all.length === 0 ? '' : `${invalid} aria-describedby="${all.join(' ')}"`)
}

function autofocus(wanted: boolean): Markup {
  return trusted(wanted ? ' autofocus' : '')
}

function buttons(submit: string): Markup {
  return html`<button class="primary" type="submit">${submit}</button>
<button type="submit" name="action" value="cancel" formnovalidate>Cancel</button>`
}
