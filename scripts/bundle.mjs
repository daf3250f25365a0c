import { build } from 'esbuild'

/**
 * Bundles the server's entry with the packages it needs, so that a start opens a few files instead of four hundred. What is
 * imported on demand stays in chunks of its own. libsql brings a native binary and @fastify/swagger-ui a folder of assets, so
 * both stay packages. The library (dist/index.js) is not bundled.
 */
await build({
  entryPoints: ['dist/server.js'],
  outdir: 'dist',
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['libsql', '@fastify/swagger-ui'],
  // CommonJS packages inside an ES module look for these.
  banner: {
    js: [
      "import { createRequire as __createRequire } from 'node:module'",
      "import { fileURLToPath as __fileURLToPath } from 'node:url'",
      'const require = __createRequire(import.meta.url)',
      'const __filename = __fileURLToPath(import.meta.url)',
      "const __dirname = __fileURLToPath(new URL('.', import.meta.url))",
    ].join('\n'),
  },
  minifyWhitespace: true,
  minifySyntax: true,
  logLevel: 'warning',
})
