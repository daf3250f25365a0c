import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp, JwksKeySource, LruReplayStore, readConfig, SqliteLedger, systemClock } from 'stepgate'

/**
 * Writes openapi.yaml from the routes of the built server; with --check it compares instead and fails on drift. The
 * document does not depend on the configuration.
 */
const folder = mkdtempSync(join(tmpdir(), 'stepgate-openapi-'))
const read = readConfig({ ISSUER: 'http://127.0.0.1:4000', AUDIENCE: 'openapi', DATA_DIR: folder, LOG_LEVEL: 'warn' })
if ('faults' in read) throw new Error(read.faults.join('; '))
const clock = systemClock
const ledger = await SqliteLedger.open(folder)
const app = await buildApp(read.config, {
  clock,
  ledger,
  keySource: new JwksKeySource({
    issuer: read.config.ISSUER,
    jwksUri: undefined,
    algorithms: read.config.ALGORITHMS,
    clock,
  }),
  replayStore: new LruReplayStore({ maxEntries: 1, clock, whenFull: 'forget' }),
})
const generated = (await app.inject('/openapi.yaml')).body
await app.close()
await ledger.close()
rmSync(folder, { recursive: true })

if (!process.argv.includes('--check')) {
  writeFileSync('openapi.yaml', generated)
} else if (readFileSync('openapi.yaml', 'utf8') === generated) {
  console.log('openapi.yaml matches the routes')
} else {
  console.error('openapi.yaml differs from the routes: run "npm run openapi" and commit the result')
  process.exitCode = 1
}
