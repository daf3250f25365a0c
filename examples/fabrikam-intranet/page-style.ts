import { createHash } from 'node:crypto'

/** The stylesheet of every page. System fonts; light and dark come from the reader's settings. */
export const style = `
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --surface: #fff; --line: #dde1e7; --text: #19202b; --quiet: #566071;
  --accent: #0a5ca8; --on-accent: #fff; --accent-soft: #e6f0fa;
  --good: #14653a; --good-soft: #e3f3e9; --strong: #7a4a00; --strong-soft: #fdf0d8;
  font: 1.0625rem/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  -webkit-text-size-adjust: 100%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141a; --surface: #181e27; --line: #2c3541; --text: #e7ebf1; --quiet: #a3aebd;
    --accent: #86bdff; --on-accent: #0b1826; --accent-soft: #1c2d42;
    --good: #86d7a6; --good-soft: #163024; --strong: #f3c578; --strong-soft: #35290f;
  }
}
*, ::before, ::after { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); }
a { color: var(--accent); text-underline-offset: .2em; }
h1, h2, p, dl, ul { margin: 0; }
h1 { font-size: clamp(1.6rem, 1.2rem + 2vw, 2.1rem); line-height: 1.2; letter-spacing: -.015em; text-wrap: balance; }
h2 { font-size: 1.125rem; line-height: 1.35; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .25rem; }
.skip { position: absolute; left: 1rem; top: -4rem; padding: .5rem 1rem; background: var(--surface); z-index: 1; }
.skip:focus { top: .5rem; }
.wide { width: 100%; max-width: 60rem; margin-inline: auto; padding-inline: 1rem; }
.top { background: var(--surface); border-bottom: 1px solid var(--line); }
.top .wide { display: flex; flex-wrap: wrap; align-items: center; column-gap: 2rem; row-gap: 0; }
.brand { display: flex; align-items: center; gap: .6rem; padding-block: .8rem; font-weight: 650; color: inherit; text-decoration: none; }
.brand svg { width: 1.6rem; height: 1.6rem; color: var(--accent); }
.top nav ul { display: flex; gap: 1.25rem; padding: 0; list-style: none; }
.top nav a { display: block; padding-block: .95rem; color: var(--quiet); text-decoration: none; border-block: 2px solid transparent; }
.top nav a:hover { color: var(--text); }
.top nav a[aria-current] { color: var(--text); border-bottom-color: var(--accent); }
.who { display: flex; align-items: center; gap: .9rem; margin-left: auto; font-size: .9375rem; }
main { padding-block: clamp(1.75rem, 5vw, 3rem) 4rem; }
main > .wide > * + * { margin-top: 1.5rem; }
main > .wide > h1 + * { margin-top: .6rem; }
.lead { max-width: 42rem; font-size: 1.0625rem; color: var(--quiet); text-wrap: pretty; }
.button { display: inline-block; padding: .55rem 1.15rem; font: inherit; font-weight: 600; line-height: 1.5; text-decoration: none; cursor: pointer;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: .5rem; }
.button:hover { filter: brightness(1.08); }
.button.plain { color: var(--text); background: var(--surface); border-color: var(--line); }
.who .button { padding: .25rem .8rem; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1.25rem; padding: 0; list-style: none; }
.card { position: relative; display: grid; grid-template-rows: auto 1fr auto; gap: .5rem; padding: 1.4rem; background: var(--surface); border: 1px solid var(--line); border-radius: .75rem; }
.card:hover { border-color: var(--accent); }
.card .tag { margin-top: .4rem; }
.card a { color: inherit; text-decoration: none; }
.card a::after { content: ""; position: absolute; inset: 0; }
.card p { color: var(--quiet); }
.tag { justify-self: start; padding: .1rem .6rem; font-size: .8125rem; font-weight: 600; border-radius: 1rem; white-space: nowrap;
  color: var(--accent); background: var(--accent-soft); }
.tag.strong { color: var(--strong); background: var(--strong-soft); }
.tag.good { color: var(--good); background: var(--good-soft); }
.note { padding: .8rem 1rem; background: var(--good-soft); color: var(--good); border-radius: .6rem; }
.table { overflow-x: auto; background: var(--surface); border: 1px solid var(--line); border-radius: .75rem; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .75rem 1rem; text-align: left; vertical-align: top; }
thead th { font-size: .8125rem; font-weight: 600; color: var(--quiet); }
tbody tr { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; }
th small, td small { display: block; font-size: .875rem; font-weight: 400; color: var(--quiet); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .875em/1.5 ui-monospace, "Cascadia Code", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
tbody th code { overflow-wrap: normal; }
.changed td:last-child code { padding-block: .1rem; color: var(--strong); background: var(--strong-soft); border-radius: .2rem; box-shadow: 0 0 0 .2rem var(--strong-soft); box-decoration-break: clone; -webkit-box-decoration-break: clone; }
@media (max-width: 36rem) {
  .top nav { order: 1; border-top: 1px solid var(--line); margin-inline: -1rem; padding-inline: 1rem; width: calc(100% + 2rem); }
  .top nav ul { justify-content: space-between; gap: .5rem; }
  .top nav a { padding-block: .6rem; font-size: .9375rem; }
  .table { margin-inline: -1rem; border-inline: 0; border-radius: 0; }
  th, td { padding: .65rem .5rem; }
  th:first-child, td:first-child { padding-left: 1rem; }
  th:last-child, td:last-child { padding-right: 1rem; }
  code { font-size: .75rem; }
}
`

const styleHash = createHash('sha256').update(style).digest('base64')

/**
 * The Content-Security-Policy of a page: its own style and pictures, no script, framed by no one. The form that signs out ends at the
 * authorization server, and browsers hold `form-action` against that redirect too.
 */
export function contentSecurityPolicy(issuer: string): string {
  return (
    `default-src 'none'; style-src 'sha256-${styleHash}'; img-src 'self'; form-action 'self' ${new URL(issuer).origin}; ` +
    `base-uri 'none'; frame-ancestors 'none'`
  )
}

/** Three blocks that make an F. */
export const mark = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" aria-hidden="true" fill="currentColor"><path d="M4 3h16v5H9v13H4z"/><path d="M11 10.5h7v5h-7z" opacity=".55"/></svg>`
