import { createHash } from 'node:crypto'

/** The stylesheet of every page. System fonts; light or dark, as the reader's settings say. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #f5f4ef; --surface: #fff; --ink: #1b2430; --quiet: #596473; --line: #dcdad1; --accent: #1d5c57; --accent-ink: #fff;
  --fault: #a3271c; --field-line: #8b8f8c;
  font: 1.0625rem/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11171b; --surface: #1a2228; --ink: #e9edef; --quiet: #a3afb8; --line: #2f3a42; --accent: #7fcabf;
    --accent-ink: #0c1f1d; --fault: #ff9d91; --field-line: #74808a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); }
main { max-width: 30rem; margin: 0 auto; padding: 3rem 1rem; }
h1 { margin: 0 0 1rem; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em; }
p { margin: 0 0 1rem; text-wrap: pretty; }
label { display: block; margin-top: 1.25rem; font-weight: 600; }
input { width: 100%; min-height: 2.875rem; padding: .5rem .75rem; border: 1px solid var(--field-line); border-radius: .5rem;
  background: var(--surface); color: inherit; font: inherit; }
#answer { font-size: 1.25rem; letter-spacing: .125em; font-variant-numeric: tabular-nums; }
button { margin: 1.5rem .5rem 0 0; padding: .625rem 1.25rem; border: 1px solid var(--field-line); border-radius: .5rem;
  background: var(--surface); color: inherit; font: inherit; font-weight: 600; line-height: 1.4; cursor: pointer; }
button.primary { border-color: var(--accent); background: var(--accent); color: var(--accent-ink); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
input:focus-visible { outline-offset: 1px; }
.error { padding: .75rem 1rem; border: 2px solid var(--fault); border-left-width: .75rem; border-radius: .5rem; font-weight: 600; }
.hint { margin: 0 0 .375rem; color: var(--quiet); font-size: .9375rem; }
dl { margin: 1.25rem 0; padding: .625rem 1.25rem; border: 1px solid var(--line); border-radius: .75rem; background: var(--surface); }
dt { padding-top: .5rem; color: var(--quiet); font-size: .9375rem; }
dd { margin: 0; padding-bottom: .5rem; overflow-wrap: anywhere; }
dd + dt { border-top: 1px solid var(--line); }
dd:first-of-type { font-size: 1.5rem; font-weight: 650; }
.qr svg { display: block; width: 14rem; height: 14rem; }
code { overflow-wrap: anywhere; }
`

const styleHash = createHash('sha256').update(style).digest('base64')

/**
 * The Content-Security-Policy of a page: nothing but its own style, framed by no one. `formTarget` is where the client
 * lives: browsers hold `form-action` against every redirect that follows a form, and the last one leads there.
 */
export function contentSecurityPolicy(formTarget?: string): string {
  const formAction = formTarget === undefined ? "'self'" : `'self' ${formTarget}`
  return (
    `default-src 'none'; style-src 'sha256-${styleHash}'; form-action ${formAction}; ` +
    `base-uri 'none'; frame-ancestors 'none'`
  )
}
