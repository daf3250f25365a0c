import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { Test } from 'tap'
import { maxMinorUnits } from '#src/core/money.js'
import type { Ledger, TransferOrder } from '#src/ledger/ledger.js'
import { pruneAll } from '#src/ledger/pruning.js'
import { testIdempotencyContract } from './idempotency-contract.js'
import {
  alice,
  balancesOf,
  bob,
  dayMs,
  digest,
  entriesOf,
  ibans,
  issuer,
  makeOrder,
  nowMs,
  type OrderChanges,
  opening,
  openings,
  spentNow,
  stranger,
  transferIdOf,
} from './orders.js'

/** What every ledger must do. `open` gives a new, empty ledger that is closed at the end of the test. */
export function testLedgerContract(t: Test, open: (t: Test) => Promise<Ledger>): void {
  const openWithAccounts = async (t: Test): Promise<Ledger> => {
    const ledger = await open(t)
    await ledger.openAccounts(issuer, openings)
    return ledger
  }

  t.test('accounts are opened once; an IBAN that exists is left alone', async (t) => {
    const ledger = await open(t)
    t.equal(await ledger.isReachable(), true)
    t.equal(await ledger.openAccounts(issuer, []), 0)
    t.equal(await ledger.openAccounts(issuer, openings.slice(0, 2)), 2)
    await ledger.book(makeOrder({ instruction: { creditorIban: ibans.savings } }))
    const taken = { ...opening('mallory', ibans.alice, 1n), name: 'Mine' }
    t.equal(await ledger.openAccounts(issuer, [taken, ...openings]), 2)
    t.strictSame(await ledger.accountsOf({ issuer, subject: 'mallory' }), [])
    t.match(await ledger.accountsOf(alice), [
      { iban: ibans.savings, name: 'alice’s', currency: 'EUR', balanceMinorUnits: 7500n },
      { iban: ibans.alice, balanceMinorUnits: 7500n },
      { iban: ibans.yen, currency: 'JPY', balanceMinorUnits: 3000n },
    ])
    const tooMuch = [opening('carol', ibans.unknown, 1n), opening('carol', 'NO9386011117947', maxMinorUnits + 1n)]
    await t.rejects(ledger.openAccounts(issuer, tooMuch))
    t.strictSame(await ledger.accountsOf({ issuer, subject: 'carol' }), [], 'all of them or none')
  })

  t.test('a shared secret is 256 random bits, the same each time, and another in another ledger', async (t) => {
    const [one, other] = [await open(t), await open(t)]
    const secret = await one.sharedSecret('dpop-nonce')
    t.equal(secret.length, 32)
    t.same(await one.sharedSecret('dpop-nonce'), secret)
    t.notSame(await other.sharedSecret('dpop-nonce'), secret)
  })

  t.test('an owner sees its own accounts and transfers, by issuer and subject', async (t) => {
    const ledger = await openWithAccounts(t)
    const [account] = await ledger.accountsOf(bob)
    const id = account?.id as string
    t.strictSame(await ledger.account(bob, id), account)
    const transferId = transferIdOf(await ledger.book(makeOrder())) as string
    t.equal((await ledger.transfer(alice, transferId))?.id, transferId)
    t.equal(await ledger.transfer(bob, transferId), undefined, 'the creditor sees the posting, not the transfer')
    t.equal((await ledger.entriesOf(bob, id, { limit: 1, before: undefined }))?.[0]?.transferId, transferId)
    for (const other of [alice, stranger, { issuer, subject: 'BOB' }, { issuer: '', subject: '' }]) {
      t.equal(await ledger.account(other, id), undefined)
      t.equal(await ledger.entriesOf(other, id, { limit: 1, before: undefined }), undefined)
    }
    t.strictSame(await ledger.accountsOf(stranger), [])
    const owners = [alice, stranger, bob, alice]
    const asked = await Promise.all(owners.map((owner) => ledger.accountsOf(owner)))
    for (const [index, owner] of owners.entries())
      t.strictSame(asked[index], await ledger.accountsOf(owner), `${owner.subject} asks among others`)
    t.equal(await ledger.transfer(stranger, transferId), undefined)
    t.equal(await ledger.transfer(alice, id), undefined)
    t.equal(await ledger.account(bob, "' or 1=1 --"), undefined)
  })

  t.test('a transfer is booked as two postings that sum to zero', async (t) => {
    const ledger = await openWithAccounts(t)
    const texts = { creditorName: 'Bob "B" O’Brien\u0301 🦊', remittanceInformation: "Rent'; drop table transfers" }
    const order = makeOrder({ instruction: { ...texts, amount: '25.0' } })
    const outcome = await ledger.book(order)
    const { amountMinorUnits, ...asInstructed } = order.instruction
    const transfer = { id: transferIdOf(outcome) as string, bookedAtMs: nowMs, ...asInstructed }
    t.strictSame(outcome, { ...spentNow, decision: { kind: 'booked', transfer } })
    t.strictSame(await ledger.transfer(alice, transfer.id), transfer, 'and read back as it was instructed')
    const entry = {
      number: 1,
      transferId: transfer.id,
      bookedAtMs: nowMs,
      currency: 'EUR',
      remittanceInformation: texts.remittanceInformation,
    }
    t.strictSame(await entriesOf(ledger, alice, ibans.alice), [
      { ...entry, counterpartyIban: ibans.bob, amountMinorUnits: -2500n },
    ])
    t.strictSame(await entriesOf(ledger, bob, ibans.bob), [
      { ...entry, counterpartyIban: ibans.alice, amountMinorUnits },
    ])
    t.match(await balancesOf(ledger), { [ibans.alice]: 7500n, [ibans.bob]: 4500n, [ibans.savings]: 5000n })
    const bare = transferIdOf(await ledger.book(makeOrder())) as string
    t.match(await ledger.transfer(alice, bare), { creditorName: undefined, remittanceInformation: undefined })
  })

  t.test('a declined order spends its token and moves nothing', async (t) => {
    const ledger = await openWithAccounts(t)
    const cases: [string, OrderChanges, string][] = [
      ['an unknown creditor', { instruction: { creditorIban: ibans.unknown } }, 'not-found'],
      ['an unknown debtor', { instruction: { debtorIban: ibans.unknown } }, 'not-found'],
      ['someone else’s account', { owner: bob }, 'not-found'],
      ['the same subject of another issuer', { owner: stranger }, 'not-found'],
      ['someone else’s account as both', { instruction: { debtorIban: ibans.bob } }, 'not-found'],
      ['the same account', { instruction: { creditorIban: ibans.alice } }, 'same-account'],
      ['another currency than both', { instruction: { currency: 'USD' } }, 'currency-mismatch'],
      ['another currency than the creditor', { instruction: { creditorIban: ibans.yen } }, 'currency-mismatch'],
      ['another currency than the debtor', { instruction: { debtorIban: ibans.yen } }, 'currency-mismatch'],
      ['a cent too much', { instruction: { amountMinorUnits: 10_001n } }, 'insufficient-funds'],
      ['far too much', { instruction: { amountMinorUnits: maxMinorUnits } }, 'insufficient-funds'],
    ]
    for (const [name, changes, reason] of cases) {
      const order = makeOrder(changes)
      const decision = { kind: 'declined', reason, requestId: order.requestId }
      t.strictSame(await ledger.book(order), { ...spentNow, decision }, name)
      t.strictSame(await ledger.book(makeOrder({ token: order.token })), { kind: 'token-spent' }, `${name}: token`)
    }
    t.match(await balancesOf(ledger), { [ibans.alice]: 10_000n, [ibans.bob]: 2000n, [ibans.yen]: 3000n })
    t.strictSame(await entriesOf(ledger, alice, ibans.alice), [])
  })

  t.test('a token books once, however many orders bring it at a time', async (t) => {
    const ledger = await openWithAccounts(t)
    const order = makeOrder({ instruction: { amountMinorUnits: 1n } })
    const outcomes = await Promise.all(
      Array.from({ length: 30 }, () => ledger.book({ ...order, requestId: randomUUID() })),
    )
    t.equal(outcomes.filter(({ kind }) => kind === 'decided').length, 1)
    t.equal(outcomes.filter(({ kind }) => kind === 'token-spent').length, 29)
    t.match(await balancesOf(ledger), { [ibans.alice]: 9999n, [ibans.bob]: 2001n })
    const pairs = [
      ['a', 'bc'],
      ['ab', 'c'],
      ['', 'abc'],
      ['abc', ''],
      [issuer, order.token.jwtId.toUpperCase()],
    ] as const
    for (const [tokenIssuer, jwtId] of pairs) {
      const other = makeOrder({ token: { issuer: tokenIssuer, jwtId }, instruction: { amountMinorUnits: 1n } })
      t.match(await ledger.book(other), spentNow, `(${tokenIssuer}, ${jwtId}) is another token`)
    }
  })

  testIdempotencyContract(t, openWithAccounts)

  t.test('entries come newest first, numbered without gaps, and cursors neither skip nor repeat', async (t) => {
    const ledger = await openWithAccounts(t)
    const account = (await ledger.accountsOf(bob))[0]?.id as string
    const page = (limit: number, before?: number) => ledger.entriesOf(bob, account, { limit, before })
    t.strictSame(await page(10), [])
    for (let n = 1n; n <= 5n; n += 1n) await ledger.book(makeOrder({ instruction: { amountMinorUnits: n } }))
    const numbers = async (limit: number, before?: number) => (await page(limit, before))?.map(({ number }) => number)
    t.strictSame(
      (await page(10))?.map(({ amountMinorUnits }) => amountMinorUnits),
      [5n, 4n, 3n, 2n, 1n],
    )
    t.strictSame(await numbers(2), [5, 4])
    t.strictSame(await numbers(2, 4), [3, 2])
    t.strictSame(await numbers(2, 2), [1])
    t.strictSame(await numbers(2, 1), [])
    t.strictSame(await numbers(5, Number.MAX_SAFE_INTEGER), [5, 4, 3, 2, 1])
    await ledger.book(makeOrder())
    t.strictSame(await numbers(2, 4), [3, 2], 'a newer entry does not move a page')
  })

  t.test('money is exact at 18 digits, and no balance passes them', async (t) => {
    const ledger = await open(t)
    const almost = maxMinorUnits - 5n
    await ledger.openAccounts(issuer, [
      opening('alice', ibans.alice, maxMinorUnits),
      opening('bob', ibans.bob, 0n),
      opening('alice', ibans.savings, almost),
    ])
    const pay = (amountMinorUnits: bigint, creditorIban = ibans.savings) =>
      ledger.book(makeOrder({ instruction: { amountMinorUnits, creditorIban } }))
    t.match(await pay(6n), { decision: { kind: 'declined', reason: 'balance-limit' } })
    t.match(await pay(5n), { decision: { kind: 'booked' } })
    t.match(await pay(1n), { decision: { kind: 'declined', reason: 'balance-limit' } })
    t.match(await balancesOf(ledger), {
      [ibans.alice]: maxMinorUnits - 5n,
      [ibans.savings]: maxMinorUnits,
      [ibans.bob]: 0n,
    })
    t.match(await pay(maxMinorUnits - 5n, ibans.bob), { decision: { kind: 'booked' } })
    t.match(await balancesOf(ledger), { [ibans.alice]: 0n, [ibans.bob]: maxMinorUnits - 5n })
    t.equal((await entriesOf(ledger, alice, ibans.alice))[0]?.amountMinorUnits, -(maxMinorUnits - 5n))
  })

  t.test('pruning forgets what is past its time, in small batches, and nothing else', async (t) => {
    const ledger = await openWithAccounts(t)
    const decline = { instruction: { creditorIban: ibans.unknown } }
    const lasting = makeOrder({ ...decline, token: { rememberUntilMs: nowMs + dayMs + 1 } })
    const brief = Array.from({ length: 1100 }, () =>
      makeOrder({ ...decline, token: { rememberUntilMs: nowMs + 1000 } }),
    )
    const keyed = { ...makeOrder(decline), idempotency: { key: 'a', ...digest('a') } }
    const orders = [lasting, keyed, ...brief]
    while (orders.length > 0) await Promise.all(orders.splice(0, 100).map((order) => ledger.book(order)))
    t.equal(await ledger.prune(nowMs + 999), 0)
    const first = await ledger.prune(nowMs + 1000)
    t.ok(first > 0 && first <= 1000, `a batch is small: ${first}`)
    t.equal(first + (await pruneAll(ledger, { nowMs: () => nowMs + 1000 })), 1101, 'to the last one')
    t.match(
      await ledger.book(brief[0] as TransferOrder),
      spentNow,
      'a token is unknown afterwards: retention guards it',
    )
    t.strictSame(await ledger.book(lasting), { kind: 'token-spent' })
    t.match(await ledger.book(keyed), { repeated: true })
    t.equal(await pruneAll(ledger, { nowMs: () => nowMs + dayMs }), 2, 'the record and the token used again')
    t.strictSame(await ledger.book(lasting), { kind: 'token-spent' })
    t.match(await ledger.book(keyed), spentNow)
  })

  t.test('whatever is ordered, money is neither made nor lost', async (t) => {
    const ledger = await openWithAccounts(t)
    const total = openings.reduce((sum, { balanceMinorUnits }) => sum + balanceMinorUnits, 0n)
    const iban = fc.constantFrom(...Object.values(ibans))
    const key = fc.constantFrom('a', 'b')
    const requestDigest = fc.constantFrom(digest('one'), digest('other')).map((one) => one.requestDigest)
    const anOrder = fc.record({
      owner: fc.constantFrom(alice, alice, bob, stranger),
      instruction: fc.record({
        debtorIban: iban,
        creditorIban: iban,
        currency: fc.constantFrom('EUR', 'EUR', 'JPY'),
        amountMinorUnits: fc.oneof(fc.bigInt(1n, 4000n), fc.bigInt(1n, maxMinorUnits)),
      }),
      token: fc.record({ jwtId: fc.oneof(fc.uuid(), fc.constantFrom('x', 'y')) }),
      idempotency: fc.option(fc.record({ key, requestDigest }), { nil: undefined }),
    })
    const property = fc.asyncProperty(fc.array(anOrder, { maxLength: 40 }), async (orders) => {
      await Promise.all(orders.map((order) => ledger.book(makeOrder(order))))
      const balances = await balancesOf(ledger)
      const sum = Object.values(balances).reduce((one, other) => one + other, 0n)
      if (sum !== total || Object.values(balances).some((balance) => balance < 0n)) return false
      for (const { subject, iban, balanceMinorUnits } of openings) {
        const entries = await entriesOf(ledger, { issuer, subject }, iban)
        const posted = entries.reduce((one, { amountMinorUnits }) => one + amountMinorUnits, balanceMinorUnits)
        if (posted !== balances[iban] || entries.some(({ number }, index) => number !== entries.length - index))
          return false
      }
      return true
    })
    await t.resolves(fc.assert(property, { numRuns: 40 }))
  })
}
