import t from 'tap'
import {
  confirmTransfer,
  giveCode,
  givePassword,
  orderTransfer,
  signIn,
  startBankWebsite,
  untilScreen,
} from '../helpers/bank-website.js'
import { missingBrowser, startBrowser } from '../helpers/browser.js'

t.test('the front end of the bank', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)
  const bank = await startBankWebsite(t)
  const api = new URL(bank.apiUrl)
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
        await page.getByRole('button', { name: 'Sign in' }).click()
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
        await page.getByRole('button', { name: 'Continue' }).click()

        await untilScreen(page, 'One more proof is needed')
        t.strictSame(transfers, [], 'the app knows that it lacks the scope, and does not try')
        await look(`${name}-5-proof`)
        const leaving = page.waitForRequest((request) => request.url().startsWith(`${bank.issuer}/auth?`))
        await page.getByRole('button', { name: 'Confirm with a code' }).click()
        const asked = new URL((await leaving).url()).searchParams
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

        await page.getByRole('button', { name: 'Back to your accounts' }).click()
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
        await page.getByRole('button', { name: 'What happens' }).click()
        await page.getByLabel('Pretend not to know').check()
        await orderTransfer(page, person)
        await untilScreen(page, 'One more proof is needed')
        t.strictSame(await bank.balances(person), { [person.current]: 250_000n, [person.savings]: 1_000_000n })
        await look('bank-403-challenge')
        const leaving = page.waitForRequest((request) => request.url().startsWith(`${bank.issuer}/auth?`))
        await page.getByRole('button', { name: 'Confirm with a code' }).click()
        const asked = new URL((await leaving).url()).searchParams
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

  await t.test('tokens are in memory only, and the key cannot be taken away', async (t) => {
    const person = bank.customer()
    await visit(t, {}, async ({ page, context }) => {
      const sent: string[] = []
      page.on('request', (request) => {
        if (new URL(request.url()).host === api.host) sent.push(request.headers()['authorization'] ?? '')
      })
      await signIn(page, bank, person)
      await orderTransfer(page, person)
      await confirmTransfer(page, person)
      await untilScreen(page, 'Transfer made')
      t.ok(sent.filter((text) => text.startsWith('DPoP eyJ')).length > 1)
      t.notOk(sent.some((text) => text.startsWith('Bearer')))
      const stored = JSON.stringify([
        await page.evaluate(
          'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
        ),
        await context.storageState({ indexedDB: false }),
      ])
      for (const token of sent.filter((text) => text !== '').map((text) => text.replace('DPoP ', ''))) {
        t.notOk(stored.includes(token), 'no token is stored')
      }
      t.notMatch(stored, /eyJ/, 'nor anything like one')
      const key = await page.evaluate(`new Promise((resolve, reject) => {
        const request = indexedDB.open('bank-web')
        request.onsuccess = () => {
          const read = request.result.transaction('keys').objectStore('keys').get('dpop')
          read.onsuccess = () => resolve(read.result.privateKey)
        }
      }).then((key) => crypto.subtle.exportKey('jwk', key)).then(() => 'exported', ({ name }) => name)`)
      t.equal(key, 'InvalidAccessError', 'a script can use the key and not read it')
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
