/** Where a visit ended: at a page, or at the client's redirect URI, which is not fetched. */
export type Visit = { readonly kind: 'page'; readonly page: Page } | { readonly kind: 'callback'; readonly url: URL }

/** A page as a browser would show it. */
export interface Page {
  readonly url: URL
  readonly status: number
  readonly html: string
  /** The text of the element with role="alert", if there is one. */
  readonly alert: string | undefined
  /** The names of the inputs of its form, with the values they have. */
  readonly fields: ReadonlyMap<string, string>
  /** What its description list says, by term. */
  readonly terms: ReadonlyMap<string, string>
}

interface Cookie {
  readonly value: string
  readonly path: string
}

const maxRedirects = 10

/**
 * The little of a browser that a sign-in needs: cookies with their paths, redirects, and one form a page, which it fills
 * in by the names of its inputs. It knows one site, runs no script, and sends no cookie anywhere else.
 */
export class HeadlessBrowser {
  readonly #site: string
  readonly #callback: string
  readonly #cookies = new Map<string, Cookie>()

  constructor(site: string, callback: string) {
    this.#site = new URL(site).origin
    this.#callback = callback
  }

  /** Opens an address, and follows redirects until a page or the callback. */
  open(url: URL): Promise<Visit> {
    return this.#follow(url, {})
  }

  /** Sends a page's form. Throws when the page has no such input: a person would not find it either. */
  submit(page: Page, values: Readonly<Record<string, string>>): Promise<Visit> {
    const fields = new Map(page.fields)
    for (const [name, value] of Object.entries(values)) {
      if (!fields.has(name)) throw new Error(`the page at ${page.url.pathname} has no field "${name}"`)
      fields.set(name, value)
    }
    const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: page.url.origin }
    return this.#follow(page.url, { method: 'POST', headers, body: new URLSearchParams([...fields]).toString() })
  }

  async #follow(start: URL, first: RequestInit): Promise<Visit> {
    let url = start
    let request = first
    for (let redirects = 0; redirects <= maxRedirects; redirects++) {
      const response = await this.#fetch(url, request)
      const location = response.headers.get('location')
      if (location === null) return { kind: 'page', page: readPage(url, response.status, await response.text()) }
      await response.body?.cancel()
      url = new URL(location, url)
      request = {}
      if (url.origin + url.pathname === this.#callback) return { kind: 'callback', url }
    }
    throw new Error(`more than ${maxRedirects} redirects from ${start.origin}`)
  }

  async #fetch(url: URL, request: RequestInit): Promise<Response> {
    if (url.origin !== this.#site) throw new Error(`the sign-in led to another site: ${url.origin}`)
    const cookies = [...this.#cookies].filter(([, { path }]) => isUnder(url.pathname, path))
    const headers = new Headers(request.headers)
    headers.set('accept', 'text/html')
    if (cookies.length > 0)
      headers.set('cookie', cookies.map(([key, { value }]) => `${nameOf(key)}=${value}`).join('; '))
    const response = await fetch(url, { ...request, headers, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) this.#remember(line)
    return response
  }

  #remember(line: string): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
    const name = pair.slice(0, pair.indexOf('='))
    const attribute = (wanted: string) =>
      attributes.find((text) => text.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1)
    const path = attribute('path') ?? '/'
    const expires = attribute('expires')
    const key = `${name} ${path}`
    if (expires !== undefined && Date.parse(expires) <= Date.now()) this.#cookies.delete(key)
    else this.#cookies.set(key, { value: pair.slice(name.length + 1), path })
  }
}

function nameOf(key: string): string {
  return key.slice(0, key.indexOf(' '))
}

function isUnder(pathname: string, path: string): boolean {
  return pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`)
}

function readPage(url: URL, status: number, html: string): Page {
  const alert = /role="alert">([^<]*)</.exec(html)?.[1]
  const [form = ''] = /<form\b[\s\S]*?<\/form>/.exec(html) ?? []
  const fields = new Map<string, string>()
  for (const [input] of form.matchAll(/<input\b[^>]*>/g)) {
    const name = /\bname="([^"]*)"/.exec(input)?.[1]
    if (name !== undefined) fields.set(name, decodeEntities(/\bvalue="([^"]*)"/.exec(input)?.[1] ?? ''))
  }
  const terms = new Map(
    [...html.matchAll(/<dt>([^<]*)<\/dt><dd>([^<]*)<\/dd>/g)].map(([, term = '', text = '']) => [
      term,
      decodeEntities(text),
    ]),
  )
  return { url, status, html, alert: alert === undefined ? undefined : decodeEntities(alert), fields, terms }
}

function decodeEntities(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
}
