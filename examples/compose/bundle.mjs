import { build } from 'esbuild'

/**
 * Puts the compiled authorization server and its packages into one file. They are this package's development dependencies,
 * and an image that holds all of those would be mostly compilers and test tools.
 */
await build({
  entryPoints: ['.build/examples/authorization-server/main.js'],
  outfile: '.build/authorization-server.mjs',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // CommonJS packages inside an ES module look for this.
  banner: { js: "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)" },
  logLevel: 'warning',
})
