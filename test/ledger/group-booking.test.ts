import type { PoolClient } from 'pg'
import t, { type Test } from 'tap'
import { LedgerUnavailable } from '#src/ledger/ledger.js'
import { GroupBooking } from '#src/ledger/postgres/group-booking.js'
import { until } from '../helpers/server-process.js'
import { makeOrder } from './orders.js'

interface Statement {
  /** Numbers of its orders, from 0. */
  numbers: number[]
  /** Answers `decided` for every order, unless something else is said of its number; null leaves its row out. */
  answer(others?: Record<number, string | null>): void
  fail(severity: string, code: string): void
}

/** A booking over connections that a test answers for, one statement after the other. */
function setUp({ connect = async (_nth: number): Promise<void> => undefined } = {}) {
  const statements: Statement[] = []
  const released: (boolean | undefined)[] = []
  let connections = 0
  const query = ({ values }: { values: [string] }) =>
    new Promise((resolve, reject) => {
      const numbers = (JSON.parse(values[0]) as { number: number }[]).map(({ number }) => number)
      statements.push({
        numbers,
        answer: (others = {}) => {
          const rows = numbers.map((number) => ({ number, outcome: number in others ? others[number] : 'decided' }))
          resolve({ rows: rows.filter(({ outcome }) => outcome !== null) })
        },
        fail: (severity, code) => reject(Object.assign(new Error(code), { severity, code })),
      })
    })
  const client = { query, release: (broken?: boolean) => released.push(broken) } as unknown as PoolClient
  const booking = new GroupBooking(async () => {
    connections += 1
    await connect(connections)
    return client
  })
  const submit = (count: number) => Promise.allSettled(Array.from({ length: count }, () => booking.submit(makeOrder())))
  const arrived = (count: number) => until('the statements arrived', () => statements.length === count)
  /** Whether every connection that was given was given back, none of them as broken. */
  const isTidy = () => released.length === connections && released.every((broken) => broken !== true)
  return { arrived, isTidy, released, statements, submit }
}

/** Lets this much time pass for whoever reads `performance.now`. */
function passTime(t: Test, milliseconds: number): void {
  const { now } = performance
  t.intercept(performance, 'now', { value: () => now.call(performance) + milliseconds })
}

t.test('orders of one turn are one group of at most 64, and four groups are under way at most', async (t) => {
  const { arrived, isTidy, statements, submit } = setUp()
  const lone = submit(1)
  await arrived(1)
  const many = submit(300)
  await arrived(4)
  t.strictSame(
    statements.map(({ numbers }) => numbers.length),
    [1, 64, 64, 64],
  )
  for (const statement of statements.slice(0, 4)) statement.answer()
  await arrived(6)
  t.strictSame(
    statements.slice(4).map(({ numbers }) => numbers.length),
    [64, 44],
  )
  for (const statement of statements) statement.answer()
  t.ok([...(await lone), ...(await many)].every(({ status }) => status === 'fulfilled'))
  t.ok(isTidy(), 'every connection was given back, none thrown away')
})

t.test('a group that was refused for one of its orders is sent again in halves, until that one is alone', async (t) => {
  const { arrived, released, statements, submit } = setUp()
  const group = submit(3)
  await arrived(1)
  statements[0]?.fail('ERROR', '55P03')
  await arrived(2)
  statements[1]?.fail('ERROR', 'SG001')
  await arrived(3)
  statements[2]?.answer()
  await arrived(4)
  statements[3]?.fail('ERROR', 'SG001')
  await arrived(5)
  statements[4]?.fail('ERROR', '55P03')
  t.strictSame(
    statements.map(({ numbers }) => numbers),
    [[0, 1, 2], [0, 1], [0], [0], [0]],
  )
  t.match(await group, [
    { value: { outcome: 'decided' } },
    { value: 'key-in-use' },
    { reason: { name: 'LedgerUnavailable', cause: { code: '55P03' } } },
  ])
  t.strictSame(released, [false, false, undefined, false, false])
})

t.test('an order that depends on another of its group is sent again alone; one without a row is unknown', async (t) => {
  const { arrived, isTidy, statements, submit } = setUp()
  const group = submit(3)
  await arrived(1)
  statements[0]?.answer({ 1: 'alone', 2: null })
  await arrived(2)
  t.strictSame(statements[1]?.numbers, [0])
  statements[1]?.answer({ 0: 'token-spent' })
  t.match(await group, [
    { value: { outcome: 'decided' } },
    { value: { outcome: 'token-spent' } },
    { reason: { name: 'OutcomeUnknown' } },
  ])
  t.ok(isTidy())
})

t.test('what was refused too late to be answered in time is not sent again', async (t) => {
  const { arrived, isTidy, statements, submit } = setUp()
  const group = submit(2)
  await arrived(1)
  passTime(t, 1600)
  statements[0]?.fail('ERROR', '55P03')
  for (const outcome of await group) t.match(outcome, { reason: { name: 'LedgerUnavailable' } })
  t.equal(statements.length, 1)
  t.ok(isTidy())
})

t.test('orders that find no connection wait for those that other groups have', async (t) => {
  let refuses = false
  const { arrived, statements, submit } = setUp({
    connect: async () => {
      if (refuses) throw new LedgerUnavailable('no connection')
    },
  })
  const first = submit(1)
  await arrived(1)
  refuses = true
  const second = submit(2)
  await new Promise(setImmediate)
  refuses = false
  statements[0]?.answer()
  await arrived(2)
  statements[1]?.answer()
  t.ok([...(await first), ...(await second)].every(({ status }) => status === 'fulfilled'))
})

t.test('a group whose connection broke is not sent again: nobody knows whether it was booked', async (t) => {
  const { arrived, released, statements, submit } = setUp()
  const group = submit(2)
  await arrived(1)
  statements[0]?.fail('FATAL', '57P01')
  for (const outcome of await group) t.match(outcome, { reason: { name: 'OutcomeUnknown' } })
  t.equal(statements.length, 1)
  t.strictSame(released, [true])
})

t.test('without a connection all that wait are refused, alone or in a group', async (t) => {
  const refuse = (from: number) => async (nth: number) => {
    if (nth >= from) throw new LedgerUnavailable('no connection')
  }
  const none = setUp({ connect: refuse(1) })
  for (const outcome of await none.submit(100)) t.match(outcome, { reason: { message: 'no connection' } })
  t.equal(none.statements.length, 0)
  const once = setUp({ connect: refuse(2) })
  const group = once.submit(2)
  await once.arrived(1)
  once.statements[0]?.fail('ERROR', '40P01')
  for (const outcome of await group) t.match(outcome, { reason: { message: 'no connection' } })
})

t.test('an order that waited for half a second is refused rather than sent late', async (t) => {
  const { arrived, isTidy, statements, submit } = setUp()
  const early: Promise<unknown>[] = []
  for (let n = 1; n <= 4; n += 1) {
    early.push(submit(1))
    await arrived(n)
  }
  const late = submit(3)
  for (const outcome of await late) {
    t.match(outcome, { reason: { name: 'LedgerUnavailable', message: 'PostgreSQL is too busy' } })
  }
  for (const statement of statements) statement.answer()
  await Promise.all(early)
  t.equal(statements.length, 4)
  const next = submit(1)
  await arrived(5)
  statements[4]?.answer()
  t.match(await next, [{ status: 'fulfilled' }])
  t.ok(isTidy())
})

t.test('no more orders wait than there is room for', async (t) => {
  const { arrived, statements, submit } = setUp()
  const early: Promise<unknown>[] = []
  for (let n = 1; n <= 4; n += 1) {
    early.push(submit(1))
    await arrived(n)
  }
  const waiting = submit(4096)
  t.match(await submit(1), [{ reason: { name: 'LedgerUnavailable', message: 'too many orders are waiting' } }])
  for (let answered = 0; answered < 4 + 64; answered += 1) {
    await until('the next statement arrived', () => statements.length > answered)
    statements[answered]?.answer()
  }
  t.ok((await waiting).every(({ status }) => status === 'fulfilled'))
  await Promise.all(early)
})
