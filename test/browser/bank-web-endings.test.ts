import { join } from 'node:path'
import Database from 'libsql'
import type { Page } from 'playwright-core'
import t from 'tap'
import {
  type Customer,
  confirmTransfer,
  fillTransfer,
  giveCode,
  givePassword,
  leaveToConfirm,
  orderTransfer,
  press,
  pretendNotToKnow,
  signIn,
  startBankWebsite,
  untilScreen,
} from '../helpers/bank-website.js'
import { missingBrowser, startBrowser } from '../helpers/browser.js'

t.test('however it ends, there is a sensible screen', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)
  const bank = await startBankWebsite(t)
  const onPhone = { width: 360, colorScheme: 'dark' } as const
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

  interface StrayAnswer {
    readonly status: number
    readonly type: string
    readonly body: string
    readonly headers?: Record<string, string>
  }

  /** Answers the next request with this instead of the API's answer, as a proxy or an API in trouble would. */
  async function answerOnce(
    page: Page,
    { status, type, body, headers }: StrayAnswer,
    { path = '/transfers', isDelivered = false } = {},
  ): Promise<void> {
    const cors = { 'access-control-allow-origin': bank.webUrl, 'access-control-expose-headers': 'WWW-Authenticate' }
    await page.route(
      `${bank.apiUrl}${path}`,
      async (route) => {
        if (isDelivered) await route.fetch()
        await route.fulfill({ status, contentType: type, body, headers: { ...cors, ...headers } })
      },
      { times: 1 },
    )
  }

  const problem = (status: number, name: string) => ({
    status,
    type: 'application/problem+json',
    body: JSON.stringify({ type: `${bank.apiUrl}/problems/${name}`, status }),
  })

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
      await page.getByText('It had been made the first time').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  await t.test('a lost answer and a reload: a fresh token with the same key finds out', async (t) => {
    const person = bank.customer()
    await visit(t, { ...onPhone, failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page, look }) => {
      await untilProof(page, person)
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      await look('bank-unknown-360-dark')
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
      await page.getByText('It had been made the first time').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  /** Moves the clock of the page as it is now; a page that is loaded later has the machine's. */
  const movePageClock = (page: Page, hours: number) =>
    page.evaluate(`{
      const now = Date.now
      Date.now = () => now() + ${hours} * 3_600_000
    }`)

  await t.test('a lost answer and a sleep of a day: the API has forgotten the key, so nothing is sent', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page }) => {
      await untilProof(page, person)
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      let sent = 0
      page.on('request', (request) => {
        if (request.url() === `${bank.apiUrl}/transfers`) sent += 1
      })
      for (const hours of [23, -24]) {
        await movePageClock(page, hours)
        await press(page, 'Find out')
        await untilScreen(page, 'Only your transactions tell now')
        await page.reload()
        await untilScreen(page, 'We do not know yet')
      }
      await press(page, 'Find out')
      await movePageClock(page, 23)
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'Only your transactions tell now')
      await page.reload()
      await untilScreen(page, 'Confirm, and we will know')
      await press(page, 'Confirm with a code')
      await untilScreen(page, 'Approve this payment')
      // The day passes on the sign-in page, whose tokens are of that server's clock.
      await page.addInitScript(`if (location.pathname === '/callback') {
        const transfer = JSON.parse(sessionStorage.getItem('transfer'))
        transfer.begunMs -= 23 * 3_600_000
        sessionStorage.setItem('transfer', JSON.stringify(transfer))
      }`)
      await giveCode(page, person)
      await untilScreen(page, 'Only your transactions tell now')
      t.equal(sent, 0)
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  await t.test('a transfer of yesterday: the transactions tell, a code does not', async (t) => {
    const person = bank.customer()
    await visit(t, { width: 360, failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page, look }) => {
      await signIn(page, bank, person)
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await fillTransfer(page, person)
      await press(page, 'Continue')
      await untilScreen(page, 'One more proof is needed')
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      await page.evaluate(`{
        const transfer = JSON.parse(sessionStorage.getItem('transfer'))
        transfer.begunMs -= 23 * 3_600_000
        sessionStorage.setItem('transfer', JSON.stringify(transfer))
      }`)
      await page.reload()
      await untilScreen(page, 'Only your transactions tell now')
      t.equal(await page.getByRole('button', { name: 'Find out' }).count(), 0)
      await look('bank-forgotten')
      await press(page, 'Sign out')
      await untilScreen(page, 'Before you sign out')
      t.equal(await page.getByRole('button', { name: 'Find out' }).count(), 0)
      await press(page, 'Go to your accounts')
      await page.getByText('Your transfer of €25.00 may have been made.').waitFor()
      t.equal(await page.getByRole('button', { name: 'Find out' }).count(), 0)
      await look('bank-forgotten-notice')
      await page.getByRole('link', { name: 'Current account' }).click()
      await page.getByText('-€25.00').waitFor()
      await page.goto(`${bank.webUrl}/#/transfer`)
      await untilScreen(page, 'Only your transactions tell now')
      await press(page, 'Dismiss')
      await untilScreen(page, 'Your accounts')
      t.equal(await page.getByText('may have been made').count(), 0)
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  await t.test('signing out with an unknown outcome: the person is told what is forgotten', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['net::ERR_CONNECTION_RESET /transfers'] }, async ({ page, look }) => {
      await untilProof(page, person)
      await loseAnswer(page)
      await confirmTransfer(page, person)
      await untilScreen(page, 'We do not know yet')
      const before = ['from the transfer', 'from the accounts']
      for (const from of before) {
        await press(page, 'Sign out')
        await untilScreen(page, 'Before you sign out')
        if (from === before[0]) await look('bank-sign-out-unknown')
        await press(page, 'Find out')
        await untilScreen(page, 'We do not know yet')
        await press(page, 'Not now')
        await page.getByText('We do not know yet whether').waitFor()
      }
      await press(page, 'Sign out')
      await press(page, 'Sign out anyway')
      await untilScreen(page, 'Sign out?')
      await press(page, 'Sign out')
      await untilScreen(page, 'Welcome')
      t.equal(await page.evaluate('sessionStorage.length'), 0)
    })
  })

  await t.test('a connection that breaks: Chromium repeats the request, and money moves once', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['401 /transfers'] }, async ({ page }) => {
      await untilProof(page, person)
      await press(page, 'Confirm with a code')
      const cut = bank.toApi.cutBeforeResponse('POST /transfers')
      await giveCode(page, person)
      await cut
      // It repeats the proof as well, which is refused; with another one, the same key finds the transfer.
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test(
    'a connection that breaks, and a token that expires: it may have been made, and is not dropped',
    async (t) => {
      const person = bank.customer()
      await visit(t, { failedRequests: ['401 /transfers'] }, async ({ page }) => {
        await untilProof(page, person)
        page.on('request', (request) => {
          if (request.url().startsWith(`${bank.issuer}/auth?`)) bank.clock.offsetMs = 0
        })
        await press(page, 'Confirm with a code')
        await untilScreen(page, 'Approve this payment')
        t.teardown(() => {
          bank.clock.offsetMs = 0
        })
        const cut = bank.toApi.cutBeforeResponse('POST /transfers', () => {
          bank.clock.offsetMs = 200_000
          return true
        })
        await giveCode(page, person)
        await cut
        await untilScreen(page, 'That confirmation is no longer valid')
        t.strictSame(await bank.balances(person), balances(person, 2500n), 'the first copy was in time')
        t.equal(await page.getByRole('button', { name: 'Drop this transfer' }).count(), 0)
        await press(page, 'Not now')
        await page.getByText('We do not know yet whether').waitFor()
        await press(page, 'Find out')
        await confirmTransfer(page, person)
        await untilScreen(page, 'Transfer made')
        await page.getByText('It had been made the first time').waitFor()
        t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
      })
    },
  )

  const invalidToken = { 'www-authenticate': 'DPoP error="invalid_token", scope="transfer:funds"' }
  for (const [name, answer, screen] of [
    ['503, keys out of reach', problem(503, 'keys-unavailable'), 'We do not know yet'],
    [
      '401, a key withdrawn',
      { ...problem(401, 'invalid-token'), headers: invalidToken },
      'The bank asks for another proof',
    ],
  ] as const) {
    await t.test(`${name}, before the proof is looked at: a copy before may have been taken`, async (t) => {
      const person = bank.customer()
      await visit(t, { failedRequests: [`${answer.status} /transfers`] }, async ({ page }) => {
        await untilProof(page, person)
        await answerOnce(page, answer, { isDelivered: true })
        await confirmTransfer(page, person)
        await untilScreen(page, screen)
        t.equal(await page.getByRole('button', { name: 'Drop this transfer' }).count(), 0)
        await press(page, 'Not now')
        await page.getByText('We do not know yet whether').waitFor()
        t.strictSame(await bank.balances(person), balances(person, 2500n))
      })
    })
  }

  await t.test(
    'an API that never answers: after half a minute the outcome is unknown, and the key finds out',
    async (t) => {
      const person = bank.customer()
      await visit(t, {}, async ({ page }) => {
        t.teardown(() => bank.toApi.thaw())
        await untilProof(page, person)
        await press(page, 'Confirm with a code')
        await untilScreen(page, 'Approve this payment')
        // What would take half a minute ends when the test says so.
        await page.addInitScript(`{
        globalThis.limits = []
        AbortSignal.timeout = (ms) => {
          const controller = new AbortController()
          limits.push({ ms, end: () => controller.abort(new DOMException('', 'TimeoutError')) })
          return controller.signal
        }
      }`)
        bank.toApi.freeze()
        await giveCode(page, person)
        await untilScreen(page, 'Sending your transfer')
        t.equal(await page.evaluate('limits.at(-1).ms'), 30_000)
        await page.evaluate('limits.at(-1).end()')
        await untilScreen(page, 'We do not know yet')
        bank.toApi.thaw()
        await press(page, 'Find out')
        await untilScreen(page, 'Transfer made')
        t.strictSame(await bank.balances(person), balances(person, 2500n))
      })
    },
  )

  await t.test('a token that was used before: the person confirms again, and the transfer is made', async (t) => {
    const person = bank.customer()
    const failedRequests = ['403 /transfers', 'net::ERR_CONNECTION_RESET /transfers', '401 /transfers']
    await visit(t, { failedRequests }, async ({ page, look }) => {
      await signIn(page, bank, person)
      await pretendNotToKnow(page)
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
      await pretendNotToKnow(page)
      // An hour later, until the authorization server is asked, whose clock is the machine's.
      page.on('request', (request) => {
        if (request.url().startsWith(`${bank.issuer}/auth?`)) bank.clock.offsetMs = 0
      })
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await fillTransfer(page, person)
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

      await fillTransfer(page, person, '100')
      await press(page, 'Continue')
      await confirmTransfer(page, person)
      await untilScreen(page, 'There is not enough money')
      await look('bank-declined')
      t.strictSame(await bank.balances(person), balances(person, 245_000n))
      await press(page, 'Change the transfer')
      await untilScreen(page, 'Make a transfer')
      t.equal(await page.getByLabel('Amount').inputValue(), '100', 'as it was typed')
      t.equal(await page.evaluate('document.activeElement.id'), 'amount')
      await page.getByLabel('Amount').fill('10')
      await press(page, 'Continue')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 246_000n))
    })
  })

  await t.test('an account that nobody has, and a reload: the form still says what is wrong', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['404 /transfers'] }, async ({ page }) => {
      await signIn(page, bank, person)
      await orderTransfer(page, { ...person, savings: 'NL91ABNA0417164300' })
      await confirmTransfer(page, person)
      await untilScreen(page, 'There is no such account')
      await page.reload()
      await untilScreen(page, 'Make a transfer')
      t.equal(await page.getByLabel('To (IBAN)').inputValue(), 'NL91ABNA0417164300')
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
      t.equal(await page.getByRole('button', { name: 'Not now' }).count(), 0, 'what drops it says so')
      await page.getByRole('button', { name: 'Drop this transfer' }).waitFor()
      database.exec('ROLLBACK')
      await press(page, 'Try again')
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('refusals that come before anything was done, and a reload: nothing was sent', async (t) => {
    const person = bank.customer()
    const before = [problem(429, 'too-many-requests'), problem(503, 'ledger-unavailable')]
    const failedRequests = before.map(({ status }) => `${status} /transfers`)
    await visit(t, { failedRequests }, async ({ page }) => {
      await untilProof(page, person)
      for (const [index, answer] of before.entries()) {
        await answerOnce(page, answer)
        const answered = page.waitForResponse(`${bank.apiUrl}/transfers`)
        if (index === 0) await confirmTransfer(page, person)
        else await press(page, 'Try again')
        await answered
        await page.locator('button:not([aria-disabled])', { hasText: 'Try again' }).waitFor()
        await untilScreen(page, 'The bank is busy')
      }
      await page.reload()
      await untilScreen(page, 'One more proof is needed')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await page.getByText('It is booked').waitFor()
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
      await press(page, 'Confirm with a code')
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

  /** Keys under which the page sends transfers. */
  function watchKeys(page: Page): Set<string> {
    const keys = new Set<string>()
    page.on('request', (request) => {
      const key = request.headers()['idempotency-key']
      if (key !== undefined) keys.add(key)
    })
    return keys
  }

  const page502 = { status: 502, type: 'text/html', body: '<!doctype html><title>Bad gateway</title>' }
  const uncertain = {
    '409, the first request still runs': problem(409, 'idempotency-key-in-use'),
    '422, the key was used for something else': problem(422, 'idempotency-key-reused'),
    '503, outcome unknown': problem(503, 'transfer-outcome-unknown'),
    'a problem that this page does not know': problem(400, 'of-tomorrow'),
    'a problem of somebody else’s': {
      ...problem(404, ''),
      body: JSON.stringify({ type: 'https://elsewhere.example/problems/not-found' }),
    },
    'a stray 403 in JSON': { status: 403, type: 'application/json', body: '{"message":"Forbidden"}' },
    'a stray 404 in HTML': { status: 404, type: 'text/html', body: '<!doctype html><title>Not found</title>' },
    'a proxy’s 503 in HTML': { ...page502, status: 503 },
    'a proxy’s 502 in HTML': page502,
    'a stray 200 in HTML': { ...page502, status: 200 },
    'a 201 without a booking': { status: 201, type: 'application/json', body: 'null' },
  }

  await t.test('an answer that says nothing certain: the same key finds out', async (t) => {
    const person = bank.customer()
    const failedRequests = Object.values(uncertain)
      .filter(({ status }) => status >= 400)
      .map(({ status }) => `${status} /transfers`)
    await visit(t, { failedRequests }, async ({ page }) => {
      await untilProof(page, person)
      const keys = watchKeys(page)
      let isFirst = true
      for (const [name, answer] of Object.entries(uncertain)) {
        await answerOnce(page, answer, { isDelivered: isFirst })
        const answered = page.waitForResponse(`${bank.apiUrl}/transfers`)
        if (isFirst) await confirmTransfer(page, person)
        else await press(page, 'Find out')
        t.equal((await answered).status(), answer.status, name)
        await page.locator('button:not([aria-disabled])', { hasText: 'Find out' }).waitFor()
        await untilScreen(page, 'We do not know yet')
        isFirst = false
      }
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'it was made')
      await press(page, 'Find out')
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time').waitFor()
      t.equal(keys.size, 1)
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  for (const [name, answer] of Object.entries({
    '409': uncertain['409, the first request still runs'],
    'a stray 403': uncertain['a stray 403 in JSON'],
    'a stray 404': uncertain['a stray 404 in HTML'],
  })) {
    await t.test(`${name} to a first attempt: it may have been made, so nothing says otherwise`, async (t) => {
      const person = bank.customer()
      await visit(t, { failedRequests: [`${answer.status} /transfers`] }, async ({ page }) => {
        await untilProof(page, person)
        await answerOnce(page, answer)
        await confirmTransfer(page, person)
        await untilScreen(page, 'We do not know yet')
        await press(page, 'Not now')
        await page.getByText('We do not know yet whether').waitFor()
        await press(page, 'Dismiss')
        await page.getByText('We do not know yet whether').waitFor({ state: 'detached' })
        await page.getByRole('link', { name: 'Make a transfer' }).click()
        await untilScreen(page, 'Make a transfer')
        t.strictSame(await bank.balances(person), balances(person, 0n))
      })
    })
  }

  await t.test('a proxy’s own 401: it may have been made, and is not dropped', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['401 /transfers'] }, async ({ page }) => {
      await untilProof(page, person)
      const headers = { 'www-authenticate': 'Basic realm="proxy"' }
      await answerOnce(page, { ...page502, status: 401, headers }, { isDelivered: true })
      await confirmTransfer(page, person)
      await untilScreen(page, 'The bank asks for another proof')
      t.equal(await page.getByRole('button', { name: 'Drop this transfer' }).count(), 0)
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test('a stray answer to what only reads: it can be tried again', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['502 /accounts'] }, async ({ page }) => {
      await signIn(page, bank, person)
      for (const status of [502, 200]) {
        await answerOnce(page, { ...page502, status }, { path: '/accounts' })
        await page.getByRole('link', { name: status === 502 ? 'Savings' : 'Current account' }).click()
        await untilScreen(page, 'The bank is busy')
        await press(page, 'Try again')
        await page.getByText('Nothing has come or gone yet.').waitFor()
        await page.getByRole('link', { name: 'All accounts' }).click()
        await untilScreen(page, 'Your accounts')
      }
    })
  })

  await t.test('booked, then the copy comes too late: it may have been made, and is not dropped', async (t) => {
    const person = bank.customer()
    await visit(t, { failedRequests: ['401 /transfers', '401 /transfers'] }, async ({ page }) => {
      await untilProof(page, person)
      page.on('request', (request) => {
        if (request.url().startsWith(`${bank.issuer}/auth?`)) bank.clock.offsetMs = 0
      })
      await page.route(
        `${bank.apiUrl}/transfers`,
        async (route) => {
          // The connection breaks, the browser repeats the proof, and the token expires before the page's own repetition.
          t.equal((await route.fetch()).status(), 201)
          const response = await route.fetch()
          t.match(response.headers()['www-authenticate'], 'invalid_dpop_proof')
          bank.clock.offsetMs = 200_000
          await route.fulfill({ response })
        },
        { times: 1 },
      )
      await confirmTransfer(page, person)
      await untilScreen(page, 'That confirmation is no longer valid')
      t.equal(await page.getByRole('button', { name: 'Drop this transfer' }).count(), 0)
      await press(page, 'Not now')
      await page.getByText('We do not know yet whether').waitFor()
      await press(page, 'Find out')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await page.getByText('It had been made the first time').waitFor()
      t.strictSame(await bank.balances(person), balances(person, 2500n), 'once')
    })
  })

  await t.test('RFC 6749 §4.1.2.1: an authorization server in trouble is not the person’s refusal', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, look }) => {
      const answer = (state: string | null, error: string) =>
        page.goto(`${bank.webUrl}/callback?${new URLSearchParams({ error, state: state ?? '', iss: bank.issuer })}`)
      await page.goto(bank.webUrl)
      const leaving = page.waitForRequest((request) => request.url().startsWith(`${bank.issuer}/auth?`))
      await press(page, 'Sign in')
      const asked = new URL((await leaving).url()).searchParams
      await page.getByLabel('User name').waitFor()
      await answer(asked.get('state'), 'server_error')
      await untilScreen(page, 'The sign-in did not work')
      await look('bank-sign-in-failed')
      await press(page, 'Try again')
      await press(page, 'Sign in')
      await givePassword(page, person)
      await untilScreen(page, 'Your accounts')
      await orderTransfer(page, person)
      for (const error of ['temporarily_unavailable', 'invalid_scope', 'unmet_authentication_requirements']) {
        const state = (await leaveToConfirm(page, bank)).get('state')
        await untilScreen(page, 'Approve this payment')
        await answer(state, error)
        await untilScreen(page, 'Confirming did not work')
      }
      await look('bank-confirming-failed')
      const state = (await leaveToConfirm(page, bank)).get('state')
      await untilScreen(page, 'Approve this payment')
      await answer(state, 'login_required')
      await untilScreen(page, 'You did not confirm')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test(
    'RFC 9470 §4: the token is too weak after all, and exactly what the challenge says is asked for',
    async (t) => {
      // The authorization server's clock is minutes behind, and so is auth_time; half a minute more is too old.
      const strict = await startBankWebsite(t, { STEP_UP_MAX_AGE: '280' })
      const person = strict.customer()
      await visit(t, { ...onPhone, failedRequests: ['401 /transfers'] }, async ({ page, look }) => {
        await signIn(page, strict, person)
        await press(page, 'What happens')
        const panel = await page.getByRole('heading', { name: 'What happens' }).boundingBox()
        t.ok(panel !== null && panel.y < 740, 'what was opened is in sight')
        await orderTransfer(page, person)
        await untilScreen(page, 'One more proof is needed')
        strict.clock.offsetMs = 50_000
        await confirmTransfer(page, person)
        await untilScreen(page, 'The bank asks for another proof')
        await look('bank-another-proof')
        t.strictSame(await strict.balances(person), balances(person, 0n))
        strict.clock.offsetMs = 0
        const asked = await leaveToConfirm(page, strict)
        const parameters = ['scope', 'acr_values', 'max_age'].map((name) => asked.get(name))
        t.strictSame(parameters, ['openid transfer:funds', 'urn:stepgate:acr:mfa', '280'])
        const payment = { instructedAmount: { amount: '25.00' }, creditorAccount: { iban: person.savings } }
        t.match(JSON.parse(asked.get('authorization_details') ?? ''), [payment], 'and for this payment, as before')
        await untilScreen(page, 'Approve this payment')
        await giveCode(page, person)
        await untilScreen(page, 'Transfer made')
        t.strictSame(await strict.balances(person), balances(person, 2500n))
      })
    },
  )

  await t.test('an authorization server that cannot give what the API wants: no going round in circles', async (t) => {
    const strict = await startBankWebsite(t, { STEP_UP_ACR_VALUES: 'urn:example:acr:passkey' })
    const person = strict.customer()
    const failedRequests = ['401 /transfers', '401 /transfers', '401 /transfers']
    await visit(t, { failedRequests, width: 360 }, async ({ page, look }) => {
      await signIn(page, strict, person)
      await orderTransfer(page, person)
      await confirmTransfer(page, person)
      await untilScreen(page, 'The bank asks for another proof')
      t.equal((await leaveToConfirm(page, strict)).get('acr_values'), 'urn:example:acr:passkey')
      await giveCode(page, person)
      await untilScreen(page, 'Your confirmation was not accepted')
      await look('bank-in-vain')
      await page.reload()
      await untilScreen(page, 'Your confirmation was not accepted')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Your confirmation was not accepted')
      await press(page, 'Drop this transfer')
      await untilScreen(page, 'Your accounts')
      t.strictSame(await strict.balances(person), balances(person, 0n))
    })
  })

  await t.test('RFC 6749 §5.1: a token with less than was asked for is not sent, and says so', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page }) => {
      await untilProof(page, person)
      await page.route(`${bank.issuer}/token`, async (route) => {
        const response = await route.fetch()
        const json = { ...((await response.json()) as object), scope: 'openid' }
        await route.fulfill({ response, json })
      })
      await confirmTransfer(page, person)
      await untilScreen(page, 'Confirming did not work')
      await page.unroute(`${bank.issuer}/token`)
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.strictSame(await bank.balances(person), balances(person, 2500n))
    })
  })

  await t.test(
    'signing out while the authorization server is out of reach: it says that its session lives',
    async (t) => {
      const person = bank.customer()
      await visit(
        t,
        { failedRequests: ['net::ERR_FAILED /.well-known/openid-configuration'] },
        async ({ page, look }) => {
          await signIn(page, bank, person)
          await page.route(`${bank.issuer}/.well-known/*`, (route) => route.abort(), { times: 1 })
          await press(page, 'Sign out')
          await untilScreen(page, 'You are not quite signed out')
          await look('bank-sign-out-failed')
          t.equal(await page.getByText(person.username).count(), 0)
          await press(page, 'Try again')
          await untilScreen(page, 'Sign out?')
          await press(page, 'Sign out')
          await untilScreen(page, 'Welcome')
        },
      )
    },
  )

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
        await pretendNotToKnow(page)
        await orderTransfer(page, person)
        await untilScreen(page, 'One more proof is needed')
        await press(page, 'Confirm with a code')
        await untilScreen(page, 'Confirm that it is you')
        await giveCode(page, person)
        await untilScreen(page, 'The bank asks for another proof')
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
      await page.getByText('So nothing was sent.').waitFor()
      t.equal(await page.getByText('So this page does not ask').count(), 0)
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
