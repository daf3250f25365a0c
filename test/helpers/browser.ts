import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

/** Names under which Chromium and its kin are installed. */
const programs = ['chromium', 'chromium-browser', 'google-chrome']
const flags = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--hide-scrollbars'],
]
const screenshotFolder = '.build/screenshots'
const actionTimeoutMs = 10_000
const axeSource = readFileSync(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8')

/** Reports violations of the policy as errors, and notes what moved without the user's doing (the Layout Instability API). */
const watchPage = `
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI }) =>
    console.error('CSP violation: ' + effectiveDirective + ' ' + blockedURI))
  globalThis.layoutShifts = []
  new PerformanceObserver((list) => {
    for (const { hadRecentInput, value, sources } of list.getEntries())
      if (!hadRecentInput && value > 0.001)
        layoutShifts.push(value + ' ' + sources.map(({ node }) => node?.outerHTML?.slice(0, 100) ?? node?.nodeName).join(' '))
  }).observe({ type: 'layout-shift', buffered: true })`

/** How a visitor's browser is set up. */
export interface VisitOptions {
  /** CSS pixels; 1280 by default. */
  width?: number
  colorScheme?: 'light' | 'dark'
  /**
   * The failed requests that the story has, in order, which Chromium reports as errors in the console: "403 /transfers", or
   * "net::ERR_CONNECTION_REFUSED /accounts". Any other one fails the test, and so does one of these that is missing.
   */
  failedRequests?: string[]
}

/** One person's browser, with cookies and storage of its own. */
export interface Visit {
  readonly page: Page
  readonly context: BrowserContext
  /**
   * Looks at the page as it is: axe finds nothing, nothing moved by itself, nothing is wider than the window. Writes a
   * screenshot of the whole page to `.build/screenshots/NAME.png`.
   */
  look(name: string): Promise<void>
}

/** For the `skip` option of a test: why there is no browser, or false. Under `CI=true` it throws instead. */
export function missingBrowser(): string | false {
  if (findBrowser() !== undefined) return false
  const reason = `missing on this machine: ${programs[0]} (apt-get install chromium, or set CHROMIUM_PATH)`
  if (process.env['CI'] === 'true') throw new Error(reason)
  return reason
}

function findBrowser(): string | undefined {
  const named = process.env['CHROMIUM_PATH']
  if (named !== undefined) return existsSync(named) ? named : undefined
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return programs.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
}

/**
 * Starts the machine's Chromium for the tests of a file. `visit` gives each case a browser of its own, and fails it for any
 * error in a console, any exception in a page and any violation of a Content-Security-Policy, on whichever page it came up.
 */
export async function startBrowser(t: Test) {
  const executablePath = findBrowser()
  if (executablePath === undefined) throw new Error('there is no browser: skip the test with missingBrowser()')
  const browser = await chromium.launch({ executablePath, args: flags })
  t.teardown(() => browser.close())
  mkdirSync(screenshotFolder, { recursive: true })

  return async function visit(
    t: Test,
    { width = 1280, colorScheme = 'light', failedRequests = [] }: VisitOptions,
    story: (visit: Visit) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext({
      viewport: { width, height: width < 600 ? 740 : 860 },
      colorScheme,
      locale: 'en-GB',
      timezoneId: 'Europe/Berlin',
    })
    context.setDefaultTimeout(actionTimeoutMs)
    await context.addInitScript(watchPage)
    const failed: string[] = []
    const faults: string[] = []
    context.on('weberror', (error) => faults.push(String(error.error())))
    context.on('console', (message) => {
      if (message.type() !== 'error') return
      const reason = /^Failed to load resource: .*?(?<reason>\d{3}(?= \()|net::\w+)/.exec(message.text())?.groups?.[
        'reason'
      ]
      const { url } = message.location()
      if (reason === undefined) faults.push(`${message.text()} (${url})`)
      else failed.push(`${reason} ${new URL(url).pathname}`)
    })
    const page = await context.newPage()
    try {
      await story({ page, context, look: (name) => look(t, page, name) })
    } catch (error) {
      await page.screenshot({ path: join(screenshotFolder, 'failed.png') })
      t.comment(`at ${page.url().replace(/\?.*/, '')}`, await page.locator('body').innerText())
      throw error
    } finally {
      await context.close()
      t.strictSame(faults, [], 'no page has an error in its console, an exception or a CSP violation')
      t.strictSame(failed, failedRequests, 'only these requests failed')
    }
  }
}

async function look(t: Test, page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(screenshotFolder, `${name}.png`), fullPage: true, animations: 'disabled' })
  // A page's policy forbids inline scripts, but not what comes over the debugging protocol.
  await page.evaluate(axeSource)
  const violations =
    await page.evaluate(`axe.run({ resultTypes: ['violations'], preload: false }).then(({ violations }) => violations.map(({ id, nodes }) =>
    id + ': ' + nodes.map(({ target, failureSummary }) => target + ' ' + failureSummary).join('; ')))`)
  t.strictSame(violations, [], `${name}: axe finds nothing`)
  t.strictSame(await page.evaluate('layoutShifts.splice(0)'), [], `${name}: nothing moves by itself`)
  const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
  t.equal(overflow, 0, `${name}: nothing is wider than the window`)
}
