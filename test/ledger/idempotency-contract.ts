import type { Test } from 'tap'
import { maxMinorUnits } from '#src/core/money.js'
import type { Ledger } from '#src/ledger/ledger.js'
import { balancesOf, bob, dayMs, digest, ibans, makeOrder, nowMs, spentNow, stranger, transferIdOf } from './orders.js'

/** What every ledger must do with idempotency keys: the part of the ledger contract that stands in a file of its own. */
export function testIdempotencyContract(t: Test, openWithAccounts: (t: Test) => Promise<Ledger>): void {
  t.test('an idempotency key', async (t) => {
    const ledger = await openWithAccounts(t)
    const cents = (amountMinorUnits: bigint) => ({ instruction: { amountMinorUnits } })
    const keyed = (key: string, text = 'same') => ({ idempotency: { key, ...digest(text) } })

    t.test('gives the stored decision, for the spent token and a fresh one, which stays unspent', async (t) => {
      const order = makeOrder({ ...keyed('a'), ...cents(1n) })
      const first = await ledger.book(order)
      t.match(first, spentNow)
      t.strictSame(await ledger.book(order), { ...first, repeated: true, tokenSpent: true })
      const fresh = makeOrder({ ...keyed('a'), ...cents(1n) })
      t.strictSame(await ledger.book(fresh), { ...first, repeated: true, tokenSpent: false })
      t.match(
        await ledger.book(makeOrder({ ...cents(1n), token: fresh.token })),
        spentNow,
        'the fresh token still works',
      )
    })

    t.test('gives a stored decline, as the request that was declined', async (t) => {
      const order = makeOrder({ ...keyed('b'), ...cents(maxMinorUnits) })
      const first = await ledger.book(order)
      t.match(first, { decision: { kind: 'declined', reason: 'insufficient-funds', requestId: order.requestId } })
      const again = await ledger.book(makeOrder({ ...keyed('b'), ...cents(maxMinorUnits) }))
      t.strictSame(again, { ...first, repeated: true, tokenSpent: false })
    })

    t.test('of another request is refused and consumes nothing', async (t) => {
      const order = makeOrder({ ...keyed('c'), ...cents(1n) })
      await ledger.book(order)
      const before = await balancesOf(ledger)
      const other = makeOrder({ ...keyed('c', 'other'), ...cents(2n) })
      t.strictSame(await ledger.book(other), { kind: 'key-reused', tokenSpent: false })
      t.strictSame(await ledger.book({ ...other, token: order.token }), { kind: 'key-reused', tokenSpent: true })
      t.strictSame(await balancesOf(ledger), before)
      t.match(await ledger.book({ ...other, idempotency: undefined }), spentNow)
    })

    t.test('belongs to its subject and issuer', async (t) => {
      const first = await ledger.book(makeOrder({ ...keyed('d'), ...cents(1n) }))
      const second = await ledger.book(makeOrder({ ...keyed('d'), ...cents(1n), owner: bob }))
      const third = await ledger.book(makeOrder({ ...keyed('d'), ...cents(1n), owner: stranger }))
      for (const outcome of [first, second, third]) t.match(outcome, spentNow)
    })

    t.test('stores nothing for a spent token', async (t) => {
      const { token } = makeOrder()
      await ledger.book(makeOrder({ ...cents(1n), token }))
      t.strictSame(await ledger.book(makeOrder({ ...keyed('e'), ...cents(1n), token })), { kind: 'token-spent' })
      t.match(await ledger.book(makeOrder({ ...keyed('e', 'other'), ...cents(1n) })), spentNow)
    })

    t.test('books once, however many orders bring it at a time', async (t) => {
      const before = await balancesOf(ledger)
      const orders = Array.from({ length: 30 }, () => makeOrder({ ...keyed('f'), ...cents(1n) }))
      const outcomes = await Promise.all(orders.map((order) => ledger.book(order)))
      t.equal(new Set(outcomes.map(transferIdOf)).size, 1)
      t.equal(outcomes.filter((outcome) => outcome.kind === 'decided' && !outcome.repeated).length, 1)
      t.equal(outcomes.filter((outcome) => outcome.kind === 'decided' && outcome.tokenSpent).length, 1)
      t.equal((await balancesOf(ledger))[ibans.alice], (before[ibans.alice] as bigint) - 1n)
    })

    t.test('is forgotten after 24 hours, pruned or not', async (t) => {
      const at = (ms: number) => makeOrder({ ...keyed('g'), ...cents(1n), nowMs: ms })
      const first = transferIdOf(await ledger.book(at(nowMs)))
      t.equal(transferIdOf(await ledger.book(at(nowMs + dayMs - 1))), first)
      const second = await ledger.book(at(nowMs + dayMs))
      t.match(second, spentNow)
      t.not(transferIdOf(second), first)
      t.equal(
        transferIdOf(await ledger.book(at(nowMs + dayMs + 1))),
        transferIdOf(second),
        'the new decision is stored',
      )
    })
  })
}
