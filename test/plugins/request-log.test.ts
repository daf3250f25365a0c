import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'

/** Logs 20 MB at once, says so, and waits for a signal before it ends. */
const program = `
  const { pino } = await import('pino')
  const { loggerOptions } = await import(${JSON.stringify(import.meta.resolve('#src/plugins/request-log.js'))})
  const { stream, ...options } = loggerOptions('info')
  const log = pino(options, stream)
  process.once('SIGTERM', () => process.exit())
  setInterval(() => {}, 1000)
  const filling = 'x'.repeat(1000)
  for (let number = 1; number <= 20_000; number += 1) log.info({ number, filling })
  process.send('logged')
`

t.test('log lines that nobody reads are dropped beyond 8 MiB, and counted once somebody does', async (t) => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(() => {
    throw new Error('the program ended')
  })
  await Promise.race([once(child, 'message'), ended])
  let output = ''
  const lines = () => output.split('\n').slice(0, -1)
  const told = new Promise<void>((resolve) => {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.slice(-text.length - 100).includes('"dropped"')) resolve()
    })
  })
  await told
  child.kill('SIGTERM')
  t.strictSame(await once(child, 'close'), [0, null])
  const all = lines().map((line) => JSON.parse(line) as { level: number; number?: number; dropped?: number })
  const kept = all.filter(({ number }) => number !== undefined)
  t.ok(kept.length * 1000 > 7_000_000 && kept.length * 1000 < 9_000_000, `${kept.length} lines were kept`)
  t.strictSame(
    kept.map(({ number }) => number),
    kept.map((_, index) => index + 1),
    'in order, the oldest',
  )
  t.match(
    all.filter(({ number }) => number === undefined),
    [{ level: 40, dropped: 20_000 - kept.length, msg: 'log lines were dropped, since nobody read standard output' }],
  )
})
