import { randomBytes } from 'node:crypto'
import { EncryptJWT, SignJWT, UnsecuredJWT } from 'jose'
import { type Clock, systemClock } from 'stepgate'
import t, { type Test } from 'tap'
import { createIntranetClient } from '../../examples/fabrikam-intranet/client.js'
import { startIntranet } from '../../examples/fabrikam-intranet/server.js'
import { ownForm, Visitor } from '../helpers/intranet-visitor.js'
import { bob, startIntranetWithLogins } from '../helpers/intranet-with-logins.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { findLastingPort } from '../helpers/ports.js'
import { startScriptedProvider } from '../helpers/scripted-provider.js'

const signInCookies = ({ cookies }: Visitor) => [...cookies.keys()].filter((name) => name.includes('sign_in'))
const over = { status: 400, text: 'This sign-in is over', location: undefined }
const acr = 'urn:stepgate:acr:mfa'

/** The intranet with a provider that answers as it is told, and a browser that follows every redirect. */
async function startWithScript(t: Test, clock: Clock = systemClock) {
  const host = '127.0.0.1'
  const port = await findLastingPort()
  const url = `http://${host}:${port}`
  const client = createIntranetClient(url)
  const provider = await startScriptedProvider(t, { clientId: client.metadata.client_id })
  const app = await startIntranet({ host, port, issuer: provider.issuer, client, clock })
  t.teardown(() => app.close())

  function openBrowser() {
    const cookies = new Map<string, string>()
    let redirects = 0
    async function open(path: string): Promise<{ status: number; path: string; text: string }> {
      let next = new URL(path, url)
      for (redirects = 0; redirects < 20; redirects++) {
        const cookie = next.origin === url ? [...cookies].map((pair) => pair.join('=')).join('; ') : ''
        const response = await fetch(next, { headers: { cookie }, redirect: 'manual' })
        for (const line of response.headers.getSetCookie()) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
          if (value === '') cookies.delete(name)
          else cookies.set(name, value)
        }
        const location = response.headers.get('location')
        const text = await response.text()
        if (location === null) return { status: response.status, path: next.pathname + next.search, text }
        next = new URL(location, next)
      }
      throw new Error('the browser gave up: too many redirects')
    }
    return { cookies, open, redirects: () => redirects }
  }
  return { ...provider, url, openBrowser }
}

t.test('OpenID Connect Core §3.1.3.7: an ID Token that is not for this sign-in signs nobody in', async (t) => {
  const { script, openBrowser, issuer } = await startWithScript(t)
  const now = Math.floor(Date.now() / 1000)
  const good = openBrowser()
  t.match(await good.open('/customers'), { status: 200, path: '/customers' })

  const faults: Record<string, Partial<typeof script>> = {
    'for another client': { claims: { aud: 'another-client' } },
    'for several, and authorised for another': { claims: { aud: ['fabrikam-intranet', 'other'], azp: 'other' } },
    'for nobody': { claims: { aud: undefined } },
    'of another issuer': { claims: { iss: 'https://evil.example' } },
    'of an issuer with a slash more': { claims: { iss: `${issuer}/` } },
    expired: { claims: { exp: now - 60 } },
    'without exp': { claims: { exp: undefined } },
    'of another sign-in': { claims: { nonce: 'another' } },
    'without nonce': { claims: { nonce: undefined } },
    'about nobody': { claims: { sub: undefined } },
    'about a number': { claims: { sub: 7 } },
    'signed by another key': { foreignKey: true },
    'that says it is not signed': { header: { alg: 'none' } },
    'signed in another way': { header: { alg: 'HS256' } },
  }
  for (const [name, fault] of Object.entries(faults)) {
    Object.assign(script, { claims: {}, header: {}, foreignKey: false }, fault)
    const browser = openBrowser()
    t.match(await browser.open('/customers'), { status: 403, text: 'That did not work' }, name)
    t.strictSame([...browser.cookies], [], `${name}: no session, and nothing left over`)
  }
})

t.test('RFC 9470 §5, OpenID Connect Core §2: claims of an odd type open nothing, and end on a page', async (t) => {
  const { script, openBrowser } = await startWithScript(t)
  const now = Math.floor(Date.now() / 1000)
  const browser = openBrowser()
  await browser.open('/customers')
  const session = browser.cookies.get('fabrikam_session')
  const odd: Record<string, unknown>[] = [
    { acr: { value: acr } },
    { acr: [acr] },
    { amr: 'mfa' },
    { authentication_level: ['mfa'] },
    { authentication_level: true },
    ...[undefined, null, String(now), 'NaN', now + 3600, now * 1000, now + 0.5, [now], -1].map((auth_time) => ({
      acr,
      auth_time,
    })),
  ]
  for (const change of odd) {
    script.claims = { auth_time: now, ...change }
    const name = JSON.stringify(change)
    t.match(await browser.open('/employees'), { status: 403, text: 'That did not work' }, name)
    t.equal(browser.redirects(), 3, 'to the step-up, to the provider, and back')
    t.equal(browser.cookies.get('fabrikam_session'), session, 'the session is as it was')
    t.match(await browser.open('/customers'), { status: 200 })
  }
  script.claims = { acr, auth_time: now }
  t.match(await browser.open('/employees'), { status: 200, path: '/employees' }, 'and the right ones do')
})

t.test('OpenID Connect Core §3.1.2.1: what is just new enough for the provider is new enough here', async (t) => {
  const clock = new ManualClock(Math.floor(Date.now() / 1000) * 1000)
  const { script, asked, openBrowser } = await startWithScript(t, clock)
  const browser = openBrowser()
  script.claims = { acr, auth_time: clock.nowSeconds }
  t.match(await browser.open('/employees'), { status: 200, path: '/employees' })
  const maxAgeSeconds = Number(asked.at(-1)?.get('max_age'))

  // The oldest answer that a provider may give, from one whose clock is ten seconds behind, after five seconds on the way.
  clock.advance((maxAgeSeconds + 10 + 5) * 1000)
  const other = openBrowser()
  t.match(await other.open('/employees'), { status: 200, path: '/employees' })

  clock.advance(900_000 - (maxAgeSeconds + 15) * 1000)
  t.match(await openBrowser().open('/employees'), { status: 200, path: '/employees' }, 'the last moment')
  t.match(await other.open('/employees'), { status: 200 })
  clock.advance(1)
  for (const browser of [other, openBrowser()]) {
    const ending = await browser.open('/employees')
    t.match(ending, { status: 403, text: 'That did not work' }, 'a provider that ignores max_age: no circles')
    t.equal(browser.redirects(), 3)
  }
  script.claims = { acr, auth_time: clock.nowSeconds }
  t.match(await other.open('/employees'), { status: 200, path: '/employees' }, 'and the next try may succeed')
})

t.test(
  'RFC 9700 §4.7: only a sign-in cookie that the intranet made is taken, in the browser it was made for',
  async (t) => {
    const world = await startIntranetWithLogins(t)
    const victim = new Visitor(world)
    victim.cookies.set('fabrikam_sign_in', 'planted')
    victim.cookies.set(`fabrikam_sign_in_${'A'.repeat(43)}`, 'planted')
    const path = await victim.answer(await victim.open('/login?return_to=/profile'))
    const [name = ''] = signInCookies(victim).filter((name) => path.includes(name.slice(-43)))
    const sealed = victim.cookies.get(name) as string

    const attacker = new Visitor(world)
    attacker.cookies.set('fabrikam_sign_in', 'planted')
    attacker.cookies.set(`fabrikam_sign_in_${'A'.repeat(43)}`, 'planted')
    t.match(await attacker.send(path), over, 'who planted a cookie has no use of it')
    t.match(await attacker.send(`/callback?code=any&state=${'A'.repeat(43)}`), over)

    const parts = sealed.split('.')
    t.strictSame(
      parts.map((part) => part !== ''),
      [true, false, true, true, true],
      'RFC 7516 §3.1: a compact JWE, encrypted with the key of the process itself',
    )
    for (const part of parts) {
      const bytes = Buffer.from(part, 'base64url')
      for (const content of ['nonce', 'pkceCodeVerifier', '/profile'])
        t.notOk(bytes.includes(content), `not ${content}`)
    }
    const flipped = parts.flatMap((part, index) => {
      const bytes = Buffer.from(part, 'base64url')
      return [...new Set([0, bytes.length >> 1, bytes.length - 1])].slice(0, bytes.length).map((at) => {
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] as number) ^ 1
        return parts.with(index, changed.toString('base64url')).join('.')
      })
    })
    const state = name.slice(-43)
    const content = { kind: 'sign-in', checks: { state }, returnPath: '/', beganMs: Date.now(), jti: state }
    const forged = [
      new UnsecuredJWT(content).encode(),
      await new EncryptJWT(content).setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(randomBytes(32)),
      await new SignJWT(content).setProtectedHeader({ alg: 'HS256' }).sign(randomBytes(32)),
    ]
    for (const value of [...flipped, ...forged, sealed.slice(0, -1), '', 'e30', JSON.stringify(content)]) {
      const browser = new Visitor(world)
      browser.cookies.set(name, encodeURIComponent(value))
      t.match(await browser.send(path), over, value.slice(0, 20))
      t.equal(browser.session, undefined)
    }
    t.match(await victim.send(path), { status: 303 }, 'the victim goes on')
    t.notOk(victim.cookies.has(name), 'and the cookie is gone with the sign-in')

    const copy = new Visitor(world)
    copy.cookies.set(name, sealed)
    t.match(await copy.send(path), { status: 403, text: 'That did not work' }, 'RFC 6749 §10.5: a replayed callback')
    t.equal(copy.session, undefined)
  },
)

t.test('RFC 9700 §4.7: two tabs do not mix up their sign-ins', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  const first = await visitor.answer(await visitor.open('/login?return_to=/customers'))
  const second = await visitor.answer(await visitor.open('/login?return_to=/profile'))
  const query = (path: string) => new URL(path, world.url).searchParams
  const cookieOf = (path: string) => `fabrikam_sign_in_${query(path).get('state')}`

  const swapped = new Visitor(world)
  swapped.cookies.set(cookieOf(first), visitor.cookies.get(cookieOf(second)) as string)
  t.match(await swapped.send(first), over, 'the cookie of one under the state of the other')

  const mixed = new URLSearchParams(query(first))
  mixed.set('code', query(second).get('code') as string)
  t.match(await visitor.send(`/callback?${mixed}`), { status: 403 }, 'the code of one with the state of the other')
  t.equal(visitor.session, undefined)

  const third = await visitor.open('/login?return_to=/customers')
  const fourth = await visitor.open('/login?return_to=/profile')
  t.match(await visitor.send(await visitor.answer(fourth)), { status: 303, location: '/profile' })
  t.match(await visitor.send(await visitor.answer(third)), { status: 303, location: '/customers' }, 'each its own way')
})

t.test('a step-up that comes back after its session ended is refused', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/customers')
  const begun = await visitor.answer(await visitor.open('/employees'))
  const kept = new Map(visitor.cookies)
  await visitor.send('/logout', ownForm(world.url))
  t.strictSame([...visitor.cookies], [], 'signing out leaves no cookie')
  t.match(await visitor.send(begun), over)
  t.equal(visitor.session, undefined)

  const copy = new Visitor(world)
  for (const [name, value] of kept) copy.cookies.set(name, value)
  t.match(await copy.send(begun), over, 'nor with the cookies from before')
  t.match(world.log.at(-1), { level: 40, msg: 'step-up came back after somebody signed out or in' })
  t.equal(copy.cookies.get('fabrikam_session'), kept.get('fabrikam_session'), 'no new session')
  t.match(await copy.send('/customers'), { status: 303 })

  const late = new Visitor(world)
  await late.visit('/customers')
  for (let passed = 0; passed < 475; passed += 25) {
    world.clock.advance(25 * 60_000)
    await late.send('/customers')
  }
  const path = await late.answer(await late.open('/employees'))
  world.clock.advance(6 * 60_000)
  t.match(await late.send(path), over, 'the eight hours were over meanwhile')
})

t.test('a step-up whose session ends while its code is redeemed is refused', async (t) => {
  const { script, url, openBrowser } = await startWithScript(t)
  const browser = openBrowser()
  await browser.open('/customers')
  const cookie = `fabrikam_session=${browser.cookies.get('fabrikam_session')}`
  const form = ownForm(url)
  script.claims = { acr, auth_time: Math.floor(Date.now() / 1000) }
  script.meanwhile = async () => {
    const signOut = await fetch(`${url}/logout`, { ...form, headers: { ...form.headers, cookie } })
    t.equal(signOut.status, 200)
    t.match(await signOut.text(), 'You are signed out here', 'with a provider that has no place to sign out')
  }
  t.match(await browser.open('/employees'), { status: 400, text: 'This sign-in is over' })
  script.meanwhile = async () => undefined
  t.match(await browser.open('/signed-out'), { status: 200, path: '/signed-out' }, 'nobody is signed in')
})

t.test('login CSRF: an answer about somebody else does not replace a session that began meanwhile', async (t) => {
  const world = await startIntranetWithLogins(t)
  const attacker = new Visitor(world)
  const planted = await attacker.answer(await attacker.open('/login'), { person: bob })
  const victim = new Visitor(world)
  // As a page of a sibling host could on plain http; on https the prefix __Host- keeps it out.
  for (const [name, value] of attacker.cookies) victim.cookies.set(name, value)
  await victim.visit('/customers')
  const { session } = victim
  t.match(await victim.send(planted), over)
  t.equal(victim.session, session)
  t.match(await victim.send('/profile'), { text: '<span>alice</span>' })
})

t.test('session fixation: what a browser brought along is worth nothing after the sign-in', async (t) => {
  const world = await startIntranetWithLogins(t)
  const attacker = new Visitor(world)
  await attacker.visit('/login', { person: bob })
  const victim = new Visitor(world)
  victim.cookies.set('fabrikam_session', attacker.session as string)
  await victim.visit('/login')
  t.not(victim.session, attacker.session)
  t.match(await attacker.send('/profile'), { status: 303 }, 'the planted session has ended, and did not become alice’s')
})

t.test('a browser keeps few sign-ins, the newest, and its cookies fit into a request', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  const path = await visitor.answer(await visitor.open('/login'))
  for (let count = 0; count < 4; count++) await visitor.open('/login')
  t.match(await visitor.send(path), { status: 303 }, 'five at once')

  const busy = new Visitor(world)
  const longest = `/${'a'.repeat(1023)}`
  for (let count = 0; count < 12; count++) {
    world.clock.advance(1)
    const path = await busy.answer(await busy.open(`/login?return_to=${longest}`))
    if (count % 4 === 0) t.match(await busy.send(path), { status: 303, location: longest })
    t.ok(signInCookies(busy).length <= 5)
  }
  t.equal(signInCookies(busy).length, 5)
  const header = [...busy.cookies].map((pair) => pair.join('=')).join('; ')
  t.ok(header.length < 12_000, `${header.length} bytes of cookies fit into a request`)
  t.match(
    await new Visitor(world).visit(`/login?return_to=${longest}b`),
    { location: '/' },
    'a longer way back is dropped',
  )
})

t.test('ASVS 3.5.1, ASVS 14.3.2: after signing out nothing is there to go back to', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/employees')
  for (const path of ['/employees', '/customers', '/profile']) {
    const page = await visitor.send(path)
    t.match(page, { status: 200 })
    t.equal(page.headers.get('cache-control'), 'no-store', path)
  }
  t.match(
    await visitor.send('/signed-out'),
    { status: 303, location: '/' },
    'nobody who is signed in is told otherwise',
  )
  await visitor.send('/logout', ownForm(world.url))
  for (const path of ['/employees', '/customers', '/profile']) t.match(await visitor.send(path), { status: 303 }, path)
  t.match(await visitor.send('/signed-out'), { status: 200, text: 'You are signed out' })
})

t.test('no form of another site is taken, whatever it posts to', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/employees')
  const before = new Map(visitor.cookies)
  for (const path of [
    '/',
    '/customers',
    '/employees',
    '/profile',
    '/login',
    '/login/mfa',
    '/callback',
    '/signed-out',
  ]) {
    const { status } = await visitor.send(path, { ...ownForm('https://evil.example'), body: 'a=b' })
    t.equal(status, 404, path)
  }
  t.match(await visitor.send('/logout', { ...ownForm('https://evil.example'), body: 'a=b' }), { status: 403 })
  t.strictSame(visitor.cookies, before)
  t.match(await visitor.send('/employees'), { status: 200 })
})

t.test('RFC 9700 §4.11: no spelling of another site’s address is a way back', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/login')
  const evil = [
    '//evil.example',
    '/\\evil.example',
    '/%2fevil.example',
    '/%5cevil.example',
    'javascript:alert(1)',
    'data:,x',
  ]
  for (const address of evil) {
    // As it stands, encoded for a query, and encoded once more.
    for (const spelling of [address, encodeURIComponent(address), encodeURIComponent(encodeURIComponent(address))]) {
      const { location } = await visitor.visit(`/login?return_to=${spelling}`)
      t.equal(location, '/', spelling)
    }
  }
})
