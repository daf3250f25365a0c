import t from 'tap'
import { GroupRead } from '#src/ledger/sqlite/group-read.js'

t.test('reads of one turn share a call, and each gets its own answer', async (t) => {
  const calls: string[][] = []
  const reads = new GroupRead((names: readonly string[]) => {
    calls.push([...names])
    return names.map((name) => `answer to ${name}`)
  })
  t.strictSame(await Promise.all(['a', 'b', 'a'].map((name) => reads.ask(name))), [
    'answer to a',
    'answer to b',
    'answer to a',
  ])
  t.equal(await reads.ask('c'), 'answer to c')
  t.strictSame(calls, [['a', 'b', 'a'], ['c']])
})

t.test('a read that is asked for while others are answered is not theirs', async (t) => {
  let written = 1
  const reads = new GroupRead((names: readonly string[]) => names.map(() => written))
  const before = reads.ask('a')
  const after = before.then(() => {
    written = 2
    return reads.ask('a')
  })
  t.strictSame(await Promise.all([before, after]), [1, 2], 'it sees what was written before it was asked for')
})

t.test('no call answers more than 64, and those left over come next', async (t) => {
  const sizes: number[] = []
  const reads = new GroupRead((numbers: readonly number[]) => {
    sizes.push(numbers.length)
    return numbers
  })
  const asked = Array.from({ length: 130 }, (_, number) => reads.ask(number))
  t.strictSame(
    await Promise.all(asked),
    Array.from({ length: 130 }, (_, number) => number),
  )
  t.equal(await reads.ask(7), 7)
  t.strictSame(sizes, [64, 64, 2, 1])
})

t.test('what the call throws, each of its callers is told, and nobody after them', async (t) => {
  const fault = new Error('unreadable')
  let fails = true
  const reads = new GroupRead((names: readonly string[]) => {
    if (fails) throw fault
    return names
  })
  t.strictSame(await Promise.allSettled([reads.ask('a'), reads.ask('b')]), [
    { status: 'rejected', reason: fault },
    { status: 'rejected', reason: fault },
  ])
  fails = false
  t.equal(await reads.ask('c'), 'c')
})
