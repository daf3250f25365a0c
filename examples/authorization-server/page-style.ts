import { createHash } from 'node:crypto'

/** The stylesheet of every page. System fonts and system colours, so light and dark come from the reader's settings. */
export const style = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0; }
main { max-width: 26rem; margin: 0 auto; padding: 2rem 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; }
label { display: block; margin-top: 1rem; font-weight: 600; }
input { box-sizing: border-box; width: 100%; padding: .5rem; font: inherit; border: 1px solid; border-radius: .25rem; }
button { margin: 1.5rem .5rem 0 0; padding: .5rem 1.25rem; font: inherit; border: 1px solid; border-radius: .25rem; }
button.primary { background: CanvasText; color: Canvas; font-weight: 600; }
:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
.error { padding: .75rem 1rem; border: 2px solid; border-left-width: .75rem; font-weight: 600; }
.hint { margin: .25rem 0; }
dl { padding: .75rem 1rem; border: 1px solid; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
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
