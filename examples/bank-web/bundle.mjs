import { cpSync } from 'node:fs'
import { build } from 'esbuild'

/** Puts the front end into one folder, next to the compiled server that serves it: one script, one stylesheet, no more. */
const source = 'examples/bank-web/browser'
const folder = '.build/examples/bank-web/public'
await build({
  entryPoints: [`${source}/main.ts`, `${source}/style.css`],
  outdir: folder,
  bundle: true,
  format: 'esm',
  target: 'es2023',
  minify: true,
  logLevel: 'warning',
})
for (const name of ['index.html', 'icon.svg']) cpSync(`${source}/${name}`, `${folder}/${name}`)
