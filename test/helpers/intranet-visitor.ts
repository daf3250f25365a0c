import { HeadlessBrowser, type Visit } from '../../examples/demo/headless-browser.js'
import { alice, type IntranetWithLogins } from './intranet-with-logins.js'

/** What the intranet answered. */
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly location: string | undefined
  readonly text: string
}

/** Somebody at a browser: cookies for the intranet, and a session of their own at the authorization server. */
export class Visitor {
  readonly cookies = new Map<string, string>()
  readonly #world: IntranetWithLogins
  readonly #browser: HeadlessBrowser
  /** What the authorization server's pages asked for, in order. */
  asked: string[] = []

  constructor(world: IntranetWithLogins) {
    this.#world = world
    this.#browser = new HeadlessBrowser(world.issuer, `${world.url}/callback`)
  }

  async send(path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = new Headers(init.headers)
    headers.set('cookie', [...this.cookies].map((pair) => pair.join('=')).join('; '))
    const response = await fetch(new URL(path, this.#world.url), { ...init, headers, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    const { status } = response
    const location = response.headers.get('location') ?? undefined
    return { status, headers: response.headers, location, text: await response.text() }
  }

  get session(): string | undefined {
    return this.cookies.get('fabrikam_session')
  }

  /** Opens a page of the intranet and follows it as far as the authorization server. */
  async open(path: string): Promise<URL> {
    let next = path
    for (let redirects = 0; redirects < 3; redirects++) {
      const { location } = await this.send(next)
      if (location === undefined) break
      if (location.startsWith(this.#world.issuer)) return new URL(location)
      next = location
    }
    throw new Error(`${path} did not lead to the authorization server`)
  }

  /** Answers the authorization server's pages as a person does, or cancels. Returns the path that leads back. */
  async answer(url: URL, { person = alice, cancel = false } = {}): Promise<string> {
    this.asked = []
    let visit: Visit = await this.#browser.open(url)
    while (visit.kind === 'page') {
      const { page } = visit
      if (page.alert !== undefined || this.asked.length > 3) throw new Error(page.alert ?? 'too many pages')
      const question = page.fields.has('password') ? 'password' : 'second factor'
      this.asked.push(question)
      if (cancel) {
        const fields = new Map([...page.fields, ['action', 'cancel']])
        visit = await this.#browser.submit({ ...page, fields }, {})
      } else if (question === 'password') {
        visit = await this.#browser.submit(page, { username: person.username, password: person.password })
      } else visit = await this.#browser.submit(page, { answer: this.#world.nextCode(person) })
    }
    return visit.url.pathname + visit.url.search
  }

  /** Goes all the way: to the page, to the authorization server, and back. */
  async visit(path: string, options: Parameters<Visitor['answer']>[1] = {}): Promise<Answer> {
    return this.send(await this.answer(await this.open(path), options))
  }
}

/** The request that a form of the intranet sends. */
export const ownForm = (url: string) => ({
  method: 'POST',
  headers: { origin: url, 'content-type': 'application/x-www-form-urlencoded' },
})
