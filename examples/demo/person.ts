import { setTimeout as wait } from 'node:timers/promises'
import { TOTP } from 'otpauth'
import { codeAlreadyUsed } from '../authorization-server/totp.js'
import type { HeadlessBrowser } from './headless-browser.js'
import type { Print } from './terminal.js'

/** Someone who can sign in, with the secret that stands in for their phone. */
export interface Person {
  readonly username: string
  readonly password: string
  /** Base32. */
  readonly totpSecret: string
}

/** What a person was asked on the way to the client. */
export type Question = 'password' | 'second factor'

const maxPages = 6

/**
 * Goes through the pages as a person does: fills in what is asked for, and reads a real code off the authenticator. When
 * the code was used before, waits for the next one and says so. Throws when a page says or asks for anything else.
 */
export async function answerPages(
  browser: HeadlessBrowser,
  url: URL,
  { person, print }: { person: Person; print: Print },
): Promise<{ callbackUrl: URL; questions: Question[]; approved: ReadonlyMap<string, string> }> {
  const totp = new TOTP({ secret: person.totpSecret })
  const questions: Question[] = []
  let approved: ReadonlyMap<string, string> = new Map()
  let visit = await browser.open(url)
  for (let pages = 0; pages < maxPages; pages++) {
    if (visit.kind === 'callback') return { callbackUrl: visit.url, questions, approved }
    const { page } = visit
    if (page.alert === codeAlreadyUsed) {
      const remainingMs = totp.remaining()
      const seconds = Math.ceil(remainingMs / 1000)
      print({ kind: 'note', text: `a code works once, and this one was used: waiting ${seconds} s for the next` })
      await wait(remainingMs)
    } else if (page.alert !== undefined) throw new Error(`the page says: ${page.alert}`)

    if (page.fields.has('password')) {
      questions.push('password')
      visit = await browser.submit(page, { username: person.username, password: person.password })
    } else if (page.fields.has('answer')) {
      if (page.alert === undefined) questions.push('second factor')
      approved = page.terms
      visit = await browser.submit(page, { answer: totp.generate() })
    } else throw new Error(`the page at ${page.url.pathname} (status ${page.status}) asks for nothing that we know`)
  }
  throw new Error(`more than ${maxPages} pages`)
}
