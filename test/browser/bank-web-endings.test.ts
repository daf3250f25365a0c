import { join } from 'node:path'
import Database from 'libsql'
import type { Page } from 'playwright-core'
import t from 'tap'
import {
  type Customer,
  confirmTransfer,
  giveCode,
  givePassword,
  orderTransfer,
  signIn,
  startBankWebsite,
  untilScreen,
} from '../helpers/bank-website.js'
import { missingBrowser, startBrowser } from '../helpers/browser.js'

t.test('however it ends, there is a sensible screen', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)
  const bank = await startBankWebsite(t)
  const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click()
  const balances = ({ current, savings }: Customer, moved: bigint) => ({
    [current]: 250_000n - moved,
    [savings]: 1_000_000n + moved,
  })

  /** Signed in, with a transfer that waits for the second factor. */
  async function untilProof(page: Page, person: Customer): Promise<void> {
    await signIn(page, bank, person)
    await orderTransfer(page, person)
    await untilScreen(page, 'One more proof is needed')
  }

  /** Holds back the answer to the next transfer, for good. */
  async function loseAnswer(page: Page): Promise<void> {
    await page.route(
      `${bank.apiUrl}/transfers`,
      async (route) => {
        await route.fetch()
        await route.abort('connectionreset')
      },
      { times: 1 },
    )
  }

  await t.test('a lost answer: the same key finds out, and money moves once', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page, look }) => {
      await untilProof(page, person)
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      await look('bank-unknown')
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'it was made')
      await press(page, 'Find out')
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time.').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  await t.test('a lost answer and a reload: a fresh token with the same key finds out', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page, look }) => {
      await untilProof(page, person)
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      await page.reload()
      await untilScreen(page, 'We do not know yet')
      await press(page, 'Not now')
      await page.getByText('We do not know yet whether your transfer of €25.00 was made.').waitFor()
      await look('bank-unfinished')
      await press(page, 'Find out')
      await press(page, 'Find out')
      await untilScreen(page, 'Confirm, and we will know')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time.').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('a connection that breaks: Chromium repeats the request, and money moves once', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['401 /transfers'] }, async ({ page }) => {
      await untilProof(page, person)
      await page.getByRole('button', { name: 'Confirm with a code' }).click()
      const cut = bank.toApi.cutBeforeResponse('POST /transfers')
      await giveCode(page, person)
      await cut
      // It repeats the proof as well, which is refused; with another one, the same key finds the transfer.
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time.').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('a token that was used before: the person confirms again, and the transfer is made', async (t) => {
    const person = bank.customer()
    const failedRequests = ['403 /transfers', 'net::ERR_CONNECTION_RESET /transfers', '401 /transfers']
    await visit(t, { failedRequests }, async ({ page, look }) => {
      await signIn(page, bank, person)
      await press(page, 'What happens')
      await page.getByLabel('Pretend not to know').check()
      await orderTransfer(page, person)
      await untilScreen(page, 'One more proof is needed')
      // Something in between uses up the token for a transfer of its own.
      await page.route(
        `${bank.apiUrl}/transfers`,
        async (route) => {
          const headers = { ...route.request().headers(), 'idempotency-key': 'of-its-own' }
          const order = route.request().postDataJSON()
          const postData = { ...order, instructedAmount: { currency: 'EUR', amount: '1.00' } }
          t.equal((await route.fetch({ headers, postData })).status(), 201)
          await route.abort('connectionreset')
        },
        { times: 1 },
      )
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      await press(page, 'Find out')
      await untilScreen(page, 'That confirmation was already used')
      await look('bank-already-used')
      t.strictSame(await bank.balances(person), balances(person, 100n), 'the replay moved nothing')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2600n))
    })
  })

  await t.test('a token that expires while someone types: they notice nothing but the code', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['401 /transfers', '401 /accounts'] }, async ({ page }) => {
      await signIn(page, bank, person)
      await press(page, 'What happens')
      await page.getByLabel('Pretend not to know').check()
      // An hour later, until the authorization server is asked, whose clock is the machine's.
      page.on('request', (request) => {
        if (request.url().startsWith(`${bank.issuer}/auth?`)) bank.clock.offsetMs = 0
      })
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await untilScreen(page, 'Make a transfer')
      await page.getByLabel('From').selectOption(person.current)
      await page.getByLabel('To (IBAN)').fill(person.savings)
      await page.getByLabel('Amount').fill('25')
      bank.clock.offsetMs = 3_700_000
      await press(page, 'Continue')
      await untilScreen(page, 'One more proof is needed')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await press(page, 'Back to your accounts')
      await page.getByText('€2,475.00').waitFor()
      bank.clock.offsetMs = 3_700_000
      await page.getByRole('link', { name: 'Current account' }).click()
      await page.getByText('-€25.00').waitFor()
      t.equal(bank.clock.offsetMs, 0, 'a new token was asked for, without a page')
    })
  })

  await t.test('a second tab spends the money first: the bank declines, and the form says why', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['422 /transfers'] }, async ({ page, context, look }) => {
      await signIn(page, bank, person)
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await untilScreen(page, 'Make a transfer')

      const other = await context.newPage()
      await other.goto(bank.webUrl)
      await press(other, 'Sign in')
      await untilScreen(other, 'Your accounts')
      await orderTransfer(other, person, '2450')
      await confirmTransfer(other, person)
      await untilScreen(other, 'Transfer made')
      await page.bringToFront()

      await page.getByLabel('From').selectOption(person.current)
      await page.getByLabel('To (IBAN)').fill(person.savings)
      await page.getByLabel('Amount').fill('100')
      await press(page, 'Continue')
      await confirmTransfer(page, person)
      await untilScreen(page, 'There is not enough money')
      await look('bank-declined')
      t.strictSame(await bank.balances(person), balances(person, 245_000n))
      await press(page, 'Change the transfer')
      await untilScreen(page, 'Make a transfer')
      t.equal(await page.getByLabel('Amount').inputValue(), '100.00')
      t.equal(await page.evaluate('document.activeElement.id'), 'amount')
      await page.getByLabel('Amount').fill('10')
      await press(page, 'Continue')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 246_000n))
    })
  })

  await t.test('an account that nobody has', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['404 /transfers'] }, async ({ page }) => {
      await signIn(page, bank, person)
      await orderTransfer(page, { ...person, savings: 'NL91ABNA0417164300' })
      await confirmTransfer(page, person)
      await untilScreen(page, 'There is no such account')
      await press(page, 'Change the transfer')
      await untilScreen(page, 'Make a transfer')
      t.equal(await page.evaluate('document.activeElement.id'), 'creditor')
    })
  })

  await t.test('the ledger is busy: nothing was sent, and the same token does later', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['503 /transfers'] }, async ({ page, look }) => {
      await untilProof(page, person)
      const database = new Database(join(bank.folder, 'ledger.sqlite'))
      t.teardown(() => database.close())
      database.exec('BEGIN IMMEDIATE')
      await confirmTransfer(page, person)
      await untilScreen(page, 'The bank is busy')
      await look('bank-busy')
      database.exec('ROLLBACK')
      await press(page, 'Try again')
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('an API out of reach', async (t) => {
    const person = bank.customer()
    const failedRequests = ['net::ERR_CONNECTION_REFUSED /accounts', 'net::ERR_CONNECTION_REFUSED /transfers']
    await visit(t, { width: 360, failedRequests }, async ({ page, look }) => {
      t.teardown(() => bank.toApi.heal().catch(() => {}))
      await signIn(page, bank, person)
      bank.toApi.cut()
      await page.getByRole('link', { name: 'Current account' }).click()
      await untilScreen(page, 'The bank cannot be reached')
      await look('bank-unreachable')
      await bank.toApi.heal()
      await press(page, 'Try again')
      await page.getByText('Nothing has come or gone yet.').waitFor()
      await orderTransfer(page, person)
      await page.getByRole('button', { name: 'Confirm with a code' }).click()
      bank.toApi.cut()
      await giveCode(page, person)
      await untilScreen(page, 'We do not know yet')
      await bank.toApi.heal()
      await press(page, 'Find out')
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('an authorization server out of reach', async (t) => {
    const person = bank.customer()
    const discovery = '/.well-known/openid-configuration'
    await visit(t, { failedRequests: [`net::ERR_CONNECTION_REFUSED ${discovery}`] }, async ({ page }) => {
      t.teardown(() => bank.toIssuer.heal().catch(() => {}))
      await untilProof(page, person)
      bank.toIssuer.cut()
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'The sign-in page cannot be reached')
      await bank.toIssuer.heal()
      await press(page, 'Try again')
      await untilScreen(page, 'One more proof is needed')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
    })
  })

  await t.test('cancelled: at the password, and at the second factor (access_denied)', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, look }) => {
      await page.goto(bank.webUrl)
      await press(page, 'Sign in')
      await press(page, 'Cancel')
      await page.getByText('You did not sign in.').waitFor()
      await press(page, 'Sign in')
      await givePassword(page, person)
      await untilScreen(page, 'Your accounts')
      await orderTransfer(page, person)
      await press(page, 'Confirm with a code')
      await press(page, 'Cancel')
      await untilScreen(page, 'You did not confirm')
      await look('bank-cancelled')
      t.strictSame(await bank.balances(person), balances(person, 0n))
      await press(page, 'Drop this transfer')
      await untilScreen(page, 'Your accounts')
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await untilScreen(page, 'Make a transfer')
    })
  })

  await t.test('back and reload in the middle: the transfer is kept, and made once', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page }) => {
      await untilProof(page, person)
      await page.reload()
      await untilScreen(page, 'One more proof is needed')
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'Approve this payment')
      await page.goBack()
      await untilScreen(page, 'One more proof is needed')
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'Approve this payment')
      await page.reload()
      await giveCode(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('RFC 6749 §10.12: an answer that this tab did not ask for is not used', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, look }) => {
      await untilProof(page, person)
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'Approve this payment')
      const exchanges: string[] = []
      page.on('request', (request) => {
        if (request.url() === `${bank.issuer}/token`) exchanges.push(request.url())
      })
      await page.goto(`${bank.webUrl}/callback?code=forged&state=forged&iss=${encodeURIComponent(bank.issuer)}`)
      await untilScreen(page, 'This sign-in does not belong here')
      await look('bank-mismatch')
      t.strictSame(exchanges, [])
      t.notMatch(page.url(), /forged/)
      await press(page, 'Try again')
      await untilScreen(page, 'One more proof is needed')
      t.strictSame(await bank.balances(person), balances(person, 0n))
    })
  })

  await t.test(
    'RFC 9396, RFC 9449 §9: an API that wants payment, key and nonce, and an app that knows none of it',
    async (t) => {
      const strict = await startBankWebsite(t, { TRANSACTION_BINDING: 'require', DPOP: 'require', DPOP_NONCE: 'on' })
      const person = strict.customer()
      const failedRequests = ['401 /accounts', '403 /transfers', '401 /transfers', '403 /transfers', '401 /transfers']
      await visit(t, { failedRequests }, async ({ page }) => {
        await signIn(page, strict, person)
        await press(page, 'What happens')
        await page.getByLabel('Pretend not to know').check()
        await orderTransfer(page, person)
        await untilScreen(page, 'One more proof is needed')
        await press(page, 'Confirm with a code')
        await untilScreen(page, 'Confirm that it is you')
        await giveCode(page, person)
        await untilScreen(page, 'One more proof is needed')
        await press(page, 'Confirm with a code')
        await untilScreen(page, 'Approve this payment')
        await giveCode(page, person)
        await untilScreen(page, 'Transfer made')
        t.strictSame(await strict.balances(person), balances(person, 2500n))
      })
    },
  )

  await t.test('someone else signs in to confirm: nothing is sent', async (t) => {
    const [person, other] = [bank.customer(), bank.customer()]
    await visit(t, {}, async ({ page, context }) => {
      await untilProof(page, person)
      await context.clearCookies()
      await press(page, 'Confirm with a code')
      await givePassword(page, other)
      await giveCode(page, other)
      await untilScreen(page, 'Someone else has signed in')
      t.strictSame(await bank.balances(person), balances(person, 0n))
    })
  })

  await t.test('a session that ended: sign in again', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, context }) => {
      await signIn(page, bank, person)
      await page.reload()
      await untilScreen(page, 'Your accounts')
      await context.clearCookies()
      await page.reload()
      await page.getByText('Your session has ended.').waitFor()
      await press(page, 'Sign in')
      await givePassword(page, person)
      await untilScreen(page, 'Your accounts')
    })
  })
})
