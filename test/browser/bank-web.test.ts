import t from 'tap'
import { giveCode, givePassword, startBankWebsite } from '../helpers/bank-website.js'
import { missingBrowser, startBrowser } from '../helpers/browser.js'

t.test('the front end of the bank', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)
  const bank = await startBankWebsite(t)

  await t.test('the whole story: accounts, transfer, one more proof, receipt, and reading goes on', async (t) => {
    const alice = bank.customer()
    await visit(t, {}, async ({ page, look }) => {
      await page.goto(bank.webUrl)
      await look('welcome')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await look('as-login')
      await givePassword(page, alice)
      await page.getByText('€2,500.00').waitFor()
      await look('accounts')
      await page.getByRole('link', { name: 'Make a transfer' }).click()
      await page.getByLabel('From').selectOption(alice.current)
      await page.getByLabel('To (IBAN)').fill(alice.savings)
      await page.getByLabel('Amount').fill('25')
      await page.getByLabel('Reference').fill('For a rainy day')
      await look('form')
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.getByRole('heading', { name: 'One more proof is needed' }).waitFor()
      await look('proof')
      await page.getByRole('button', { name: 'Confirm with a code' }).click()
      await page.getByRole('heading', { name: 'Approve this payment' }).waitFor()
      await look('as-approve')
      await giveCode(page, alice)
      await page.getByRole('heading', { name: 'Transfer made' }).waitFor()
      await look('receipt')
      t.strictSame(await bank.balances(alice), { [alice.current]: 247_500n, [alice.savings]: 1_002_500n })
      await page.getByRole('button', { name: 'Back to your accounts' }).click()
      await page.getByText('€2,475.00').waitFor()
      await page.getByRole('link', { name: 'Current account' }).click()
      await page.getByText('-€25.00').waitFor()
      await look('transactions')
    })
  })
})
