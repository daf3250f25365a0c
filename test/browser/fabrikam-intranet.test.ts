import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type Visit as BrowserVisit, missingBrowser, startBrowser, type VisitOptions } from '../helpers/browser.js'
import { alice, type IntranetWithLogins, startIntranetWithLogins } from '../helpers/intranet-with-logins.js'

t.test('Fabrikam’s intranet in a browser', { skip: missingBrowser() }, async (t) => {
  const visit = await startBrowser(t)

  /**
   * Each case has a world and a browser of its own. It names the requests that fail by design; some of their addresses are
   * known only as they come, so `addFailed` adds the page that is shown.
   */
  function story(
    name: string,
    { failedRequests = [], ...options }: VisitOptions,
    play: (
      world: IntranetWithLogins,
      visit: BrowserVisit & { addFailed(status: number): void },
      t: Test,
    ) => Promise<void>,
  ) {
    return t.test(name, async (t) => {
      const world = await startIntranetWithLogins(t)
      await visit(t, { ...options, failedRequests }, (browser) => {
        const addFailed = (status: number) => {
          failedRequests.push(`${status} ${new URL(browser.page.url()).pathname}`)
        }
        return play(world, { ...browser, addFailed }, t)
      })
    })
  }

  await story(
    'the story: Customers, then Employees with the second factor, then out',
    {},
    async (world, { page, look }, t) => {
      await page.goto(world.url)
      await look('intranet-home')
      await page.getByRole('link', { name: 'Customers' }).first().click()
      await expectHeading(page, 'Sign in')
      await look('intranet-sign-in')
      await signIn(page)
      await expectHeading(page, 'Customers')
      t.equal(page.url(), `${world.url}/customers`)
      await look('intranet-customers')
      await page.getByRole('link', { name: 'Profile' }).click()
      await page.getByText('"normal"').waitFor()

      await page.getByRole('link', { name: 'Employees' }).click()
      await expectHeading(page, 'Confirm that it is you')
      t.equal(await page.getByLabel('Password').count(), 0, 'only the second factor is asked for')
      await look('intranet-second-factor')
      await giveSecondFactor(world, page)
      await expectHeading(page, 'Employees')
      t.equal(page.url(), `${world.url}/employees`)
      await page.getByText('$118,000').waitFor()
      await look('intranet-employees')
      await page.getByRole('link', { name: 'Profile' }).click()
      await page.getByRole('columnheader', { name: 'Before' }).waitFor()
      await look('intranet-profile')
      await page.getByRole('link', { name: 'Home' }).click()
      t.equal(await page.getByText('Open to you').count(), 2)
      await look('intranet-home-open')

      await page.getByRole('button', { name: 'Sign out' }).click()
      await expectHeading(page, 'Sign out?')
      await look('intranet-sign-out')
      await page.getByRole('button', { name: 'Sign out' }).click()
      await expectHeading(page, 'You are signed out')
      await look('intranet-signed-out')
      // Back to the page with the salaries: neither the cache nor the server gives it away.
      await page.evaluate('history.go(-4)')
      await expectHeading(page, 'Sign in')
    },
  )

  await story(
    'single sign-on: who is signed in at the bank is asked for the second factor only',
    {},
    async (world, { page }, t) => {
      await signInAtTheBank(world, page)
      await page.goto(`${world.url}/customers`)
      await expectHeading(page, 'Customers')
      await page.getByRole('link', { name: 'Employees' }).click()
      await giveSecondFactor(world, page)
      await expectHeading(page, 'Employees')
      t.equal(page.url(), `${world.url}/employees`)
    },
  )

  await story(
    'cancelling: a page with a way on',
    { failedRequests: ['403 /callback'] },
    async (world, { page, look }, t) => {
      await page.goto(`${world.url}/customers`)
      await signIn(page)
      await page.getByRole('link', { name: 'Employees' }).click()
      await page.getByRole('button', { name: 'Cancel' }).click()
      await expectHeading(page, 'You cancelled')
      await look('intranet-cancelled')
      await page.getByRole('link', { name: 'Try again' }).click()
      await giveSecondFactor(world, page)
      await expectHeading(page, 'Employees')
      t.equal(page.url(), `${world.url}/employees`)
    },
  )

  await story('reload and a wrong code amid the step-up', {}, async (world, { page, addFailed }, t) => {
    await page.goto(`${world.url}/employees`)
    await signIn(page)
    await expectHeading(page, 'Confirm that it is you')
    await page.reload()
    await expectHeading(page, 'Confirm that it is you')
    await page.getByLabel('Six-digit code').fill('000000')
    await page.getByRole('button', { name: 'Confirm' }).click()
    await page.getByRole('alert').waitFor()
    addFailed(422)
    await giveSecondFactor(world, page)
    await expectHeading(page, 'Employees')
    await page.reload()
    await expectHeading(page, 'Employees')
    t.equal(page.url(), `${world.url}/employees`)
  })

  await story('the back button, before and after the second factor', {}, async (world, { page, addFailed }) => {
    await page.goto(`${world.url}/customers`)
    await signIn(page)
    await page.getByRole('link', { name: 'Employees' }).click()
    await expectHeading(page, 'Confirm that it is you')
    await page.goBack()
    await expectHeading(page, 'Customers')
    await page.goForward()
    await giveSecondFactor(world, page)
    await expectHeading(page, 'Employees')
    await page.goBack()
    await expectHeading(page, 'Start again')
    addFailed(400)
    await page.goBack()
    await expectHeading(page, 'Customers')
    await page.getByRole('link', { name: 'Employees' }).click()
    await expectHeading(page, 'Employees')
  })

  await story('two tabs step up side by side', {}, async (world, { page, context }, t) => {
    await page.goto(`${world.url}/customers`)
    await signIn(page)
    const other = await context.newPage()
    await other.goto(`${world.url}/profile`)
    await page.getByRole('link', { name: 'Employees' }).click()
    await other.getByRole('link', { name: 'Give your second factor' }).click()
    await giveSecondFactor(world, page)
    await expectHeading(page, 'Employees')
    await giveSecondFactor(world, other)
    await expectHeading(other, 'Profile')
    await page.reload()
    await expectHeading(page, 'Employees')
    t.equal(other.url(), `${world.url}/profile`)
  })

  await story(
    'signing out in another tab ends the step-up in this one',
    { failedRequests: ['400 /callback'] },
    async (world, { page, context }, t) => {
      await page.goto(`${world.url}/customers`)
      await signIn(page)
      await page.getByRole('link', { name: 'Employees' }).click()
      await expectHeading(page, 'Confirm that it is you')
      const other = await context.newPage()
      await other.goto(`${world.url}/customers`)
      await other.getByRole('button', { name: 'Sign out' }).click()
      await expectHeading(other, 'Sign out?')
      await giveSecondFactor(world, page)
      await expectHeading(page, 'This sign-in is over')
      t.equal(await page.getByRole('link', { name: 'Sign in' }).count(), 1)
    },
  )

  await story(
    'a session that ends: amid the step-up, and on the page',
    { failedRequests: ['400 /callback'] },
    async (world, { page, look }, t) => {
      await page.goto(`${world.url}/customers`)
      await signIn(page)
      await page.getByRole('link', { name: 'Employees' }).click()
      await expectHeading(page, 'Confirm that it is you')
      world.clock.advance(31 * 60_000)
      await giveSecondFactor(world, page)
      await expectHeading(page, 'This sign-in is over')
      await look('intranet-over')
      await page.getByRole('link', { name: 'Employees' }).click()
      await giveSecondFactor(world, page)
      await expectHeading(page, 'Employees')
      world.clock.advance(16 * 60_000)
      await page.reload()
      await giveSecondFactor(world, page)
      await expectHeading(page, 'Employees')
      world.clock.advance(31 * 60_000)
      await page.getByRole('link', { name: 'Customers' }).click()
      await expectHeading(page, 'Customers')
      t.equal(page.url(), `${world.url}/customers`, 'single sign-on')
    },
  )

  for (const [name, width, colorScheme] of [
    ['dark', 1280, 'dark'],
    ['phone', 360, 'light'],
    ['phone-dark', 360, 'dark'],
  ] as const) {
    await story(
      `every page: ${name}`,
      { width, colorScheme, failedRequests: ['404 /nowhere'] },
      async (world, { page, look }) => {
        await page.goto(world.url)
        await look(`intranet-home-${name}`)
        await page.goto(`${world.url}/customers`)
        await signIn(page)
        await expectHeading(page, 'Customers')
        await look(`intranet-customers-${name}`)
        await page.goto(`${world.url}/employees`)
        await look(`intranet-second-factor-${name}`)
        await giveSecondFactor(world, page)
        await expectHeading(page, 'Employees')
        await look(`intranet-employees-${name}`)
        await page.goto(`${world.url}/profile`)
        await look(`intranet-profile-${name}`)
        await page.goto(`${world.url}/nowhere`)
        await look(`intranet-nowhere-${name}`)
      },
    )
  }
})

async function expectHeading(page: Page, name: string): Promise<void> {
  await page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
}

async function signIn(page: Page): Promise<void> {
  await page.getByLabel('User name').fill(alice.username)
  await page.getByLabel('Password').fill(alice.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

async function giveSecondFactor(world: IntranetWithLogins, page: Page): Promise<void> {
  await page.getByLabel('Six-digit code').fill(world.nextCode(alice))
  await page.getByRole('button', { name: 'Confirm' }).click()
}

/** Alice signs in for the bank's app, so that the authorization server knows her; the app itself does not matter here. */
async function signInAtTheBank({ issuer }: IntranetWithLogins, page: Page): Promise<void> {
  const callback = 'http://127.0.0.1:49152/callback'
  await page.route(`${callback}?*`, (route) => route.fulfill({ body: 'the bank' }))
  const query = new URLSearchParams({
    client_id: 'stepgate-demo',
    response_type: 'code',
    redirect_uri: callback,
    scope: 'openid read:accounts',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  })
  await page.goto(`${issuer}/auth?${query}`)
  await signIn(page)
  await page.getByText('the bank').waitFor()
}
