import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { auditBank } from '../helpers/bank-audit.js'
import { Payer, settlePayments } from '../helpers/payments.js'
import { bankEnvironment, mintFor, runServer, startServer, until, untilReady } from '../helpers/server-process.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const refusals = ['ledger-unavailable', 'transfer-outcome-unknown']

function runs(...[program, ...parameters]: [string, ...string[]]): boolean {
  return spawnSync(program, parameters).status === 0
}

/** Mounts a file system of a few megabytes of memory; undefined where that is not permitted. */
function mountDisk(t: Test, megabytes: number): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'stepgate-disk-'))
  const mounted = runs('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder)
  t.teardown(() => {
    if (mounted) runs('umount', '--lazy', folder)
    rmSync(folder, { recursive: true, force: true })
  })
  return mounted ? folder : undefined
}

/** Where a full disk can be had: any user may limit the size of files, and root may mount a small disk as well. */
interface SmallDisk {
  folder: string
  wrapper: string[]
  fill: (pid: number) => void
  free: (pid: number) => void
}

const disks: Record<string, (t: Test) => SmallDisk | undefined> = {
  'a disk that is full': (t) => {
    const folder = mountDisk(t, 4)
    if (folder === undefined) return undefined
    const ballast = join(folder, 'ballast')
    const fill = (): void => {
      for (const bytes of [65_536, 4096, 1]) {
        try {
          for (;;) writeFileSync(ballast, Buffer.alloc(bytes), { flag: 'a' })
        } catch {
          // Full, to this granularity.
        }
      }
    }
    return { folder, wrapper: [], fill, free: () => rmSync(ballast) }
  },
  'a file that may grow no more': (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'stepgate-disk-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const limit = (pid: number, bytes: string): void => {
      if (!runs('prlimit', '--pid', String(pid), `--fsize=${bytes}:unlimited`)) throw new Error('no limit could be set')
    }
    const fill = (pid: number): void => limit(pid, '4096')
    // Node ignores the signal that says so, but what tap loads to measure coverage takes it for the end.
    const wrapper = ['env', '-u', 'NODE_OPTIONS']
    return { folder, wrapper, fill, free: (pid) => limit(pid, 'unlimited') }
  },
}

for (const [name, open] of Object.entries(disks)) {
  t.test(`${name}: transfers are refused, nothing is lost, and all goes on when there is room`, async (t) => {
    const disk = open(t)
    if (disk === undefined)
      return void t.pass('a full disk', { skip: 'mounting is not permitted; the other way is tested' })
    const { folder, wrapper, fill, free } = disk
    const environment = await bankEnvironment(t, issuer.url, { DATA_DIR: join(folder, 'data') })
    const server = await startServer(t, environment, { wrapper })
    await untilReady(server)
    const payer = new Payer(mintFor(issuer))
    const stop = payer.startPaying(server.url, 4)
    await until('some are booked', () => payer.acknowledged.length >= 20)
    fill(server.pid)
    await until('they are refused', () => payer.count(({ status }) => status === 503) >= 20)
    t.equal((await fetch(`${server.url}/readyz`)).status, 200, 'reads are served')
    const books = await auditBank(t, environment['DATA_DIR'] as string, payer.acknowledged)
    t.equal(books.transfers.length, payer.acknowledged.length, 'what was refused is not there')
    free(server.pid)
    const target = payer.acknowledged.length + 20
    await until('more are booked', () => payer.acknowledged.length >= target)
    await stop()
    await settlePayments(t, payer, { url: server.url, where: environment['DATA_DIR'] as string, allowed: refusals })
    t.equal(await server.stop(), 0)
    t.equal(server.stderr, '')
  })
}

/** Makes a folder read-only for the server: by its mode, or for root, whom modes do not stop, by its mount. */
function makeReadOnly(t: Test, folder: string): boolean {
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o555)
    t.teardown(() => chmodSync(folder, 0o755))
    return true
  }
  const done = runs('mount', '--bind', folder, folder) && runs('mount', '-o', 'remount,bind,ro', folder)
  t.teardown(() => runs('umount', folder))
  return done
}

t.test('a data folder that cannot be written is refused at the start, and not touched', async (t) => {
  const environment = await bankEnvironment(t, issuer.url)
  const folder = environment.DATA_DIR
  const first = await startServer(t, environment)
  const payer = new Payer(mintFor(issuer))
  t.equal((await payer.pay(first.url)).status, 201)
  t.equal(await first.stop(), 0)
  const empty = mkdtempSync(join(tmpdir(), 'stepgate-empty-'))
  t.teardown(() => rmSync(empty, { recursive: true, force: true }))
  for (const [what, path] of [
    ['one with a ledger', folder],
    ['an empty one', empty],
    ['one below it', join(empty, 'data')],
  ] as const) {
    await t.test(what, async (t) => {
      if (!makeReadOnly(t, path.startsWith(empty) ? empty : path)) {
        if (process.env['CI'] === 'true') throw new Error('root may not mount here')
        return void t.pass('a read-only folder', { skip: 'root may not mount here' })
      }
      const { child, stderr } = await runServer(t, { ...environment, DATA_DIR: path })
      t.equal(child.exitCode, 1)
      t.match(stderr, /^config: DATA_DIR: expected a folder that can be created and written to \([A-Z_]+\)\n$/i)
    })
  }
  const again = await startServer(t, environment)
  t.match(await payer.send(again.url, payer.payments[0] as never), { status: 201, replayed: true })
  await settlePayments(t, payer, { url: again.url, where: folder })
})

t.test('a damaged ledger is refused at the start, with its bytes as they were', async (t) => {
  const environment = await bankEnvironment(t, issuer.url)
  mkdirSync(environment.DATA_DIR)
  const path = join(environment.DATA_DIR, 'ledger.sqlite')
  const bytes = Buffer.alloc(65_536, 'these are no accounts ')
  writeFileSync(path, bytes)
  for (const WORKERS of ['1', '2']) {
    const { child, stdout, stderr } = await runServer(t, { ...environment, WORKERS })
    t.equal(child.exitCode, 1)
    t.equal(stderr, 'config: DATA_DIR: ledger.sqlite is damaged or no SQLite database\n')
    t.equal(stdout, '')
    t.ok(readFileSync(path).equals(bytes))
  }
})
