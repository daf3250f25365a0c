import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { bankEnvironment, mintFor, startServer, until } from '../helpers/server-process.js'
import { transferBody } from '../helpers/test-api.js'
import { TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const tokens = mintFor(issuer)
const cent = transferBody({ instructedAmount: { currency: 'EUR', amount: '0.01' } })

/** Books one cent with a token. Resolves to the status, 0 when the connection broke, and the transfer's id. */
async function book(url: string, token: string): Promise<{ status: number; transferId?: string }> {
  try {
    const response = await fetch(`${url}/transfers`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(cent),
    })
    const { transferId } = (await response.json()) as { transferId?: string }
    return { status: response.status, ...(transferId === undefined ? {} : { transferId }) }
  } catch {
    return { status: 0 }
  }
}

/** One request on each of many connections, all sent once all are connected. Resolves to the number of transfers. */
async function bookAtOnce(url: string, count: number): Promise<number> {
  const body = JSON.stringify(cent)
  const sockets = Array.from({ length: count }, () => connect(Number(new URL(url).port), '127.0.0.1'))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const answers = sockets.map((socket) => {
    socket.write(
      [
        'POST /transfers HTTP/1.1',
        'host: api.example.com',
        `authorization: Bearer ${tokens.transfer()}`,
        'content-type: application/json',
        `content-length: ${body.length}`,
        'connection: close',
        '',
        body,
      ].join('\r\n'),
    )
    return text(socket)
  })
  return (await Promise.all(answers)).filter((answer) => answer.startsWith('HTTP/1.1 201 Created')).length
}

async function read<Body>(url: string, path: string, subject: string): Promise<Body> {
  const headers = { authorization: `Bearer ${tokens.read({ sub: subject })}` }
  return (await (await fetch(`${url}${path}`, { headers })).json()) as Body
}

/** The account of a subject: its balance in cents, and the ids of all its transactions. */
async function readAccount(url: string, subject: string): Promise<{ cents: number; transferIds: string[] }> {
  interface Accounts {
    accounts: { resourceId: string; iban: string; balance: { amount: string } }[]
  }
  interface Page {
    transactions: { transferId: string }[]
    nextCursor?: string
  }
  const { accounts } = await read<Accounts>(url, '/accounts', subject)
  const { resourceId, balance } = accounts[0] as Accounts['accounts'][number]
  const transferIds: string[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const query: string = cursor === '' ? '' : `&cursor=${cursor}`
    const page: Page = await read(url, `/accounts/${resourceId}/transactions?limit=100${query}`, subject)
    transferIds.push(...page.transactions.map(({ transferId }) => transferId))
    cursor = page.nextCursor
  }
  return { cents: Math.round(Number(balance.amount) * 100), transferIds }
}

t.test('a server that is killed amid transfers has lost none that it acknowledged, and repeats none', async (t) => {
  const environment = await bankEnvironment(t, issuer.url)
  const first = await startServer(t, environment)
  const used: string[] = []
  const acknowledged: string[] = []
  const client = async (): Promise<void> => {
    for (;;) {
      const token = tokens.transfer()
      used.push(token)
      const { status, transferId } = await book(first.url, token)
      if (status !== 201) return
      acknowledged.push(transferId as string)
      if (acknowledged.length === 100) first.child.kill('SIGKILL')
    }
  }
  await Promise.all(Array.from({ length: 16 }, client))
  t.strictSame(await first.exited, { code: null, signal: 'SIGKILL' })
  t.ok(acknowledged.length >= 100, `${acknowledged.length} of ${used.length} were acknowledged`)

  const second = await startServer(t, environment)
  const debtor = await readAccount(second.url, 'alice')
  const booked = new Set(debtor.transferIds)
  t.equal(booked.size, debtor.transferIds.length, 'every transfer is there once')
  t.strictSame(
    acknowledged.filter((id) => !booked.has(id)),
    [],
    'and so is every one that was acknowledged',
  )
  t.ok(booked.size <= used.length)
  t.equal(debtor.cents, 100_000 - booked.size)
  t.equal((await readAccount(second.url, 'bob')).cents, 20_000 + booked.size)

  const replays = await Promise.all(used.map((token) => book(second.url, token)))
  const statuses = replays.map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 401).length, booked.size, 'what was booked is refused')
  t.equal(statuses.filter((status) => status === 201).length, used.length - booked.size, 'the rest is booked now')
  const after = await readAccount(second.url, 'alice')
  t.equal(new Set(after.transferIds).size, used.length, 'each token has booked exactly once')
  t.equal(after.cents, 100_000 - used.length)
  t.equal((await readAccount(second.url, 'bob')).cents, 20_000 + used.length)
  t.equal(await second.stop(), 0)
})

t.test('every acknowledged transfer was fsynced, and those that come together share one', async (t) => {
  const strace = '/usr/bin/strace'
  const usable = existsSync(strace) && spawnSync(strace, ['-o', '/dev/null', '/bin/true']).status === 0
  if (!usable) {
    if (process.env['CI'] === 'true') t.fail('strace is missing or may not trace')
    else t.pass('fsyncs are counted', { skip: 'strace is missing or may not trace' })
    return
  }
  const environment = await bankEnvironment(t, issuer.url)
  const trace = join(dirname(environment.DATA_DIR), 'trace')
  // -D makes strace the grandchild, so that signals and exit code are the server's own.
  const wrapper = [strace, '-D', '-f', '-y', '-e', 'trace=fsync,fdatasync', '-o', trace]
  const server = await startServer(t, environment, { wrapper })
  const countSyncs = (): number =>
    readFileSync(trace, 'utf8').match(/ f(?:data)?sync\(\d+<[^>]*ledger\.sqlite-wal>\)/g)?.length ?? 0

  const beforeAny = countSyncs()
  for (let n = 1; n <= 10; n += 1) {
    t.equal((await book(server.url, tokens.transfer())).status, 201)
    await until('the fsync is in the trace', () => countSyncs() >= beforeAny + n)
  }
  const oneByOne = countSyncs()
  t.equal(await bookAtOnce(server.url, 100), 100)
  t.equal(await server.stop(), 0)
  const inGroups = countSyncs() - oneByOne
  t.ok(inGroups >= 2 && inGroups <= 20, `100 transfers at once took ${inGroups} fsyncs`)
})
