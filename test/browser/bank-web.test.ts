import type { Page } from 'playwright-core'
import t from 'tap'
import {
  confirmTransfer,
  fillTransfer,
  giveCode,
  givePassword,
  leaveToConfirm,
  orderTransfer,
  press,
  pretendNotToKnow,
  signIn,
  signOut,
  startBankWebsite,
  untilScreen,
} from '../helpers/bank-website.js'
import { missingBrowser, startBrowser } from '../helpers/browser.js'

t.test('the front end of the bank', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)
  const bank = await startBankWebsite(t)
  const moved = (one: string, other: string) => ({ [one]: 247_500n, [other]: 1_002_500n })

  const looks = [
    { width: 1280, colorScheme: 'light' },
    { width: 360, colorScheme: 'dark' },
  ] as const
  for (const { width, colorScheme } of looks) {
    const name = `bank-${width}-${colorScheme}`
    await t.test(`the whole story, ${width} pixels wide and ${colorScheme}`, async (t) => {
      const person = bank.customer()
      await visit(t, { width, colorScheme }, async ({ page, look }) => {
        const transfers: string[] = []
        page.on('request', (request) => {
          if (request.url() === `${bank.apiUrl}/transfers`) transfers.push(request.method())
        })
        await page.goto(bank.webUrl)
        await look(`${name}-1-welcome`)
        await press(page, 'Sign in')
        await page.getByLabel('User name').waitFor()
        await look(`${name}-2-password`)
        await givePassword(page, person)
        await page.getByText('€2,500.00').waitFor()
        await look(`${name}-3-accounts`)
        await page.getByRole('link', { name: 'Make a transfer' }).click()
        await page.getByLabel('From').selectOption(person.current)
        await page.getByLabel('To (IBAN)').fill(person.savings.toLowerCase().replaceAll(/(.{4})/g, '$1 '))
        await page.getByLabel('Name of the recipient').fill('My savings')
        await page.getByLabel('Amount').fill('25')
        await page.getByLabel('Reference').fill('For a rainy day')
        await look(`${name}-4-form`)
        await press(page, 'Continue')

        await untilScreen(page, 'One more proof is needed')
        t.strictSame(transfers, [], 'the app knows that it lacks the scope, and does not try')
        await look(`${name}-5-proof`)
        const asked = await leaveToConfirm(page, bank)
        t.equal(asked.get('scope'), 'openid transfer:funds')
        t.match(JSON.parse(asked.get('authorization_details') ?? ''), [
          { type: 'payment_initiation', instructedAmount: { currency: 'EUR', amount: '25.00' } },
        ])
        await untilScreen(page, 'Approve this payment')
        await look(`${name}-6-approve`)
        await giveCode(page, person)

        await untilScreen(page, 'Transfer made')
        await look(`${name}-7-receipt`)
        t.strictSame(await bank.balances(person), moved(person.current, person.savings))
        await page.reload()
        await untilScreen(page, 'Transfer made')
        t.equal(transfers.filter((method) => method === 'POST').length, 1, 'a reload sends nothing')

        await press(page, 'Back to your accounts')
        await page.getByText('€2,475.00').waitFor()
        await page.getByRole('link', { name: 'Current account' }).click()
        await page.getByText('-€25.00').waitFor()
        await look(`${name}-8-transactions`)
      })
    })
  }

  await t.test(
    'RFC 6750 §3.1, RFC 9470 §4: with old knowledge, the 403 says what to ask for, and that is asked for',
    async (t) => {
      const person = bank.customer()
      await visit(t, { failedRequests: ['403 /transfers'] }, async ({ page, look }) => {
        await signIn(page, bank, person)
        await pretendNotToKnow(page)
        await orderTransfer(page, person)
        await untilScreen(page, 'One more proof is needed')
        t.strictSame(await bank.balances(person), { [person.current]: 250_000n, [person.savings]: 1_000_000n })
        await look('bank-403-challenge')
        const asked = await leaveToConfirm(page, bank)
        const parameters = ['scope', 'acr_values', 'max_age', 'authorization_details'].map((name) => asked.get(name))
        t.strictSame(parameters, ['openid transfer:funds', 'urn:stepgate:acr:mfa', '300', null])
        await giveCode(page, person)
        await untilScreen(page, 'Transfer made')
        await look('bank-panel')
        const told = await page.getByLabel('What happens', { exact: true }).innerText()
        for (const words of [
          'POST /transfers → 403',
          'error="insufficient_scope"',
          'asks for acr_values',
          'POST /transfers → 201',
        ]) {
          t.ok(told.includes(words), words)
        }
        t.notMatch(told, /eyJ/, 'no token is shown')
        t.strictSame(await bank.balances(person), moved(person.current, person.savings))
      })
    },
  )

  await t.test('no token, code or ID Token is stored in the browser, and the key cannot be taken away', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, context }) => {
      const secrets = new Set<string>()
      context.on('request', (request) => {
        const { authorization } = request.headers()
        if (authorization !== undefined) secrets.add(authorization.replace('DPoP ', ''))
        const code = new URL(request.url()).searchParams.get('code')
        if (code !== null) secrets.add(code)
      })
      context.on('response', async (response) => {
        if (response.url() !== `${bank.issuer}/token` || response.request().method() !== 'POST') return
        const { access_token: accessToken, id_token: idToken } = (await response.json()) as Record<string, string>
        for (const token of [accessToken, idToken]) if (token !== undefined) secrets.add(token)
      })

      async function expectNoSecret(when: string, keys: unknown[]): Promise<void> {
        const text = await readStorage(page)
        const { local, caches, workers, databases } = JSON.parse(text)
        t.strictSame(
          { local, caches, workers },
          { local: {}, caches: [], workers: 0 },
          `${when}: only what is named here`,
        )
        t.strictSame(databases, { 'bank-web keys': keys }, `${when}: nobody can take the key away`)
        const everything = text + JSON.stringify(await context.cookies())
        for (const secret of secrets) t.notOk(everything.includes(secret), `${when}: no token and no code`)
        t.notMatch(text, /eyJ/, `${when}: nor anything like one`)
      }
      const key = { publicKey: 'public', privateKey: 'private, not extractable' }

      await signIn(page, bank, person)
      await expectNoSecret('reading', [key])
      await orderTransfer(page, person)
      await untilScreen(page, 'One more proof is needed')
      await expectNoSecret('with a transfer that waits', [key])
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await expectNoSecret('after the transfer', [key])
      const kinds = [...secrets].map((secret) => (secret.startsWith('eyJ') ? 'token' : 'code')).sort()
      t.strictSame(kinds, ['code', 'code', 'token', 'token', 'token', 'token'], 'of both authorizations')

      await signOut(page)
      await expectNoSecret('signed out', [])
      t.strictSame(JSON.parse(await readStorage(page)).session, {})
    })
  })

  await t.test('what was typed survives a reload, until it is booked, dropped, or its person signs out', async (t) => {
    const [person, other] = [bank.customer(), bank.customer()]
    await visit(t, {}, async ({ page }) => {
      const typed = () => Promise.all(['To (IBAN)', 'Amount'].map((label) => page.getByLabel(label).inputValue()))
      const nothing = ['', '']
      const openForm = async () => {
        await page.getByRole('link', { name: 'Make a transfer' }).click()
        await untilScreen(page, 'Make a transfer')
      }
      await signIn(page, bank, person)
      await openForm()
      await fillTransfer(page, person, '12.')
      await page.getByLabel('From').selectOption(person.savings)
      await page.reload()
      await untilScreen(page, 'Make a transfer')
      t.equal(await page.getByLabel('From').inputValue(), person.savings)
      t.strictSame(await typed(), [person.savings, '12.'], 'half-typed, as it was')
      await page.getByRole('link', { name: 'Cancel' }).click()
      await untilScreen(page, 'Your accounts')
      await openForm()
      t.strictSame(await typed(), nothing, 'cancelled')

      await fillTransfer(page, person)
      await press(page, 'Continue')
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      await press(page, 'Back to your accounts')
      await untilScreen(page, 'Your accounts')
      await openForm()
      t.strictSame(await typed(), nothing, 'booked')

      await fillTransfer(page, person)
      await page.context().clearCookies()
      await page.reload()
      await page.getByText('Your session has ended.').waitFor()
      await press(page, 'Sign in')
      await givePassword(page, other)
      await untilScreen(page, 'Make a transfer')
      t.strictSame(await typed(), nothing, 'someone else')

      await fillTransfer(page, other)
      await signOut(page)
      t.strictSame(JSON.parse(await readStorage(page)).session, {}, 'signed out')
    })
  })

  await t.test('the form says what is wrong, at the field, and the focus goes there', async (t) => {
    const person = bank.customer()
    await visit(t, { width: 360 }, async ({ page, look }) => {
      await signIn(page, bank, person)
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await untilScreen(page, 'Make a transfer')
      const submit = page.getByRole('button', { name: 'Continue' })
      const [creditor, amount] = [page.getByLabel('To (IBAN)'), page.getByLabel('Amount')]
      await page.getByLabel('From').selectOption(person.current)
      await submit.click()
      t.equal(await page.evaluate('document.activeElement.id'), 'creditor')
      t.equal(await page.getByRole('status').innerText(), '2 fields need another look.')
      await look('bank-form-faults')

      const cases: [field: typeof creditor, typed: string, fault: RegExp][] = [
        [creditor, 'DE89370400440532013001', /check digits/],
        [creditor, 'NOT AN IBAN', /two letters, two digits/],
        [creditor, person.current, /account it comes from/],
        [amount, '1,250', /plain number/],
        [amount, '0', /above zero/],
        [amount, '-5', /plain number/],
        [amount, '12.345', /at most 2 decimals/],
        [amount, '2500.01', /holds €2,500\.00/],
      ]
      for (const [field, typed, fault] of cases) {
        await creditor.fill(person.savings)
        await amount.fill('1')
        await field.fill(typed)
        await submit.click()
        t.equal(await field.getAttribute('aria-invalid'), 'true', typed)
        const [describedBy = ''] = (await field.getAttribute('aria-describedby'))?.split(' ') ?? []
        t.match(await page.locator(`#${describedBy}`).innerText(), fault)
        t.equal(await page.evaluate('document.activeElement.id'), await field.getAttribute('id'))
      }
    })
  })

  await t.test('it can be used from the keyboard, and each screen takes the focus', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page }) => {
      const focused = () => page.evaluate('document.activeElement.textContent')
      await page.goto(bank.webUrl)
      await untilScreen(page, 'Welcome')
      t.equal(await focused(), 'Welcome')
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await page.getByLabel('User name').waitFor()
      await page.keyboard.type(person.username)
      await page.keyboard.press('Tab')
      await page.keyboard.type(person.password)
      await page.keyboard.press('Enter')
      await untilScreen(page, 'Your accounts')
      t.equal(await focused(), 'Your accounts')
      await page.keyboard.press('Shift+Tab')
      await page.keyboard.press('Shift+Tab')
      await page.keyboard.press('Enter')
      await page
        .getByLabel('User name')
        .or(page.getByRole('heading', { name: 'Sign out?' }))
        .waitFor()
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await untilScreen(page, 'Welcome')
    })
  })

  await t.test('what takes longer than 300 ms says so, and what does not, does not', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, look }) => {
      await page.addInitScript(`addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
        if (document.querySelector('.progress')) globalThis.sawProgress = true
      }).observe(document.body, { subtree: true, childList: true }))`)
      await signIn(page, bank, person)
      bank.toApi.delayMs = 1000
      t.teardown(() => {
        bank.toApi.delayMs = 0
      })
      await page.getByRole('link', { name: 'Current account' }).click()
      await page.locator('.progress').waitFor()
      t.equal(await page.locator('main').getAttribute('aria-busy'), 'true')
      t.equal(await page.getByRole('status').innerText(), 'Your accounts')
      await look('bank-progress')
      await untilScreen(page, 'Current account')
      bank.toApi.delayMs = 0
      await page.evaluate('globalThis.sawProgress = false')
      await page.getByRole('link', { name: 'All accounts' }).click()
      await untilScreen(page, 'Your accounts')
      t.equal(await page.evaluate('globalThis.sawProgress'), false)
    })
  })
})

/** Everything that a browser keeps for a page, as JSON. Of a key it says whether a script can read it. */
function readStorage(page: Page): Promise<string> {
  return page.evaluate(`(async () => {
    const result = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result) })
    const databases = {}
    for (const { name } of await indexedDB.databases()) {
      const database = await result(indexedDB.open(name))
      for (const store of database.objectStoreNames)
        databases[name + ' ' + store] = await result(database.transaction(store).objectStore(store).getAll())
      database.close()
    }
    const everything = {
      local: { ...localStorage }, session: { ...sessionStorage }, cookies: document.cookie, databases, caches: await caches.keys(),
      workers: (await navigator.serviceWorker.getRegistrations()).length,
      address: location.href, state: history.state, window: window.name,
    }
    return JSON.stringify(everything, (_name, value) => !(value instanceof CryptoKey) ? value
      : value.type + (value.type === 'public' ? '' : value.extractable ? ', extractable' : ', not extractable'))
  })()`)
}
