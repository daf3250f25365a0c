import { generateKeyPairSync } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { requireMultiFactor } from 'stepgate'
import t, { type Test } from 'tap'
import { buildIntranet } from '../../examples/fabrikam-intranet/intranet.js'
import { createOpenIdProvider } from '../../examples/fabrikam-intranet/openid-provider.js'
import { intranetStepUp } from '../../examples/fabrikam-intranet/server.js'
import { ownForm, Visitor } from '../helpers/intranet-visitor.js'
import { bob, startIntranetWithLogins } from '../helpers/intranet-with-logins.js'
import { ManualClock } from '../helpers/manual-clock.js'

t.test('the story: Customers after a password, Employees only with the second factor', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)

  t.match(await visitor.send('/'), { status: 200, text: 'Needs your second factor' })
  t.match(await visitor.send('/customers'), { status: 303, location: '/login?return_to=%2Fcustomers' })
  t.match(await visitor.visit('/customers'), { status: 303, location: '/customers' })
  t.strictSame(visitor.asked, ['password'])
  t.match(await visitor.send('/customers'), { status: 200, text: 'Contoso' })
  t.match(await visitor.send('/profile'), { text: '&quot;normal&quot;' })
  const first = visitor.session

  t.match(await visitor.send('/employees'), { status: 303, location: '/login/mfa?return_to=%2Femployees' })
  t.match(await visitor.visit('/employees'), { status: 303, location: '/employees' })
  t.strictSame(visitor.asked, ['second factor'], 'who is signed in is asked for the second factor only')
  t.match(await visitor.send('/employees'), { status: 200, text: '$118,000' })
  const profile = (await visitor.send('/profile')).text.replaceAll('<wbr>', '')
  for (const value of ['>Before<', 'urn:stepgate:acr:pwd', 'urn:stepgate:acr:mfa', '&quot;otp&quot;']) {
    t.match(profile, value)
  }
  t.match(profile, /class="changed"><th scope="row"><code>authentication_level/)
  t.match(profile, /<tr><th scope="row"><code>sub/)
  t.not(visitor.session, first, 'the session id is renewed')

  const events = world.log.filter(({ msg }) => !String(msg).startsWith('Server listening'))
  t.match(events, [
    { level: 30, msg: 'sign-in succeeded', person: 'alice' },
    { level: 40, msg: 'User did not sign in with MFA. Step up required.', page: '/employees', person: 'alice' },
    { level: 40, msg: 'User did not sign in with MFA. Step up required.' },
    { level: 30, msg: 'step-up succeeded', person: 'alice' },
  ])
  t.equal(events.length, 4)
  const secrets = ['eyJ', 'code', 'state', ...visitor.cookies.values()]
  for (const secret of secrets) t.notMatch(JSON.stringify(world.log), secret, 'no token, code or cookie is logged')
})

t.test('who is not signed in at all gets password and second factor in one go', async (t) => {
  const visitor = new Visitor(await startIntranetWithLogins(t))
  t.match(await visitor.visit('/employees?sort=name'), { status: 303, location: '/employees?sort=name' })
  t.strictSame(visitor.asked, ['password', 'second factor'])
  t.match(await visitor.send('/employees'), { status: 200 })
  t.notMatch((await visitor.send('/profile')).text, '>Before<')
})

t.test('RFC 9700 §2.1.1, RFC 9470 §4: what is asked of the authorization server', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  const signIn = Object.fromEntries((await visitor.open('/login')).searchParams)
  const random = /^[\w-]{43}$/
  t.match(signIn, {
    client_id: 'fabrikam-intranet',
    response_type: 'code',
    redirect_uri: `${world.url}/callback`,
    scope: 'openid',
    code_challenge_method: 'S256',
    code_challenge: random,
    state: random,
    nonce: random,
    acr_values: undefined,
    max_age: undefined,
  })
  const stepUp = Object.fromEntries((await visitor.open('/login/mfa')).searchParams)
  t.match(
    stepUp,
    { scope: 'openid step_up', acr_values: 'urn:stepgate:acr:mfa', max_age: '840' },
    'a minute less than is checked',
  )
  for (const name of ['state', 'nonce', 'code_challenge']) t.not(stepUp[name], signIn[name], `${name} is fresh`)
})

t.test('RFC 6749 §10.12: a callback that this browser did not begin signs nobody in', async (t) => {
  const world = await startIntranetWithLogins(t)
  const victim = new Visitor(world)
  const path = await victim.answer(await victim.open('/login'))
  const callback = new URL(path, world.url)
  const attacker = new Visitor(world)
  const attackersOwn = await attacker.answer(await attacker.open('/login'), { person: bob })

  const expectRefusal = async (visitor: Visitor, given: string, name: string) => {
    const session = visitor.session
    t.match(await visitor.send(given), { status: 400, text: 'This sign-in is over' }, name)
    t.equal(visitor.session, session, `${name}: the session is as it was`)
  }
  const change = (changes: Record<string, string | undefined>) => {
    const query = new URLSearchParams(callback.search)
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined) query.delete(name)
      else query.set(name, value)
    }
    return `/callback?${query}`
  }
  await expectRefusal(new Visitor(world), path, 'a browser without a cookie')
  await expectRefusal(attacker, path, 'another browser that is signing in')
  await expectRefusal(victim, attackersOwn, 'login CSRF: the attacker’s code and state in the victim’s browser')
  await expectRefusal(victim, change({ state: 'A'.repeat(43) }), 'another state')
  await expectRefusal(victim, change({ state: undefined }), 'no state')
  await expectRefusal(victim, '/callback', 'nothing')
  await expectRefusal(victim, `${path}&state=${callback.searchParams.get('state')}`, 'state twice')

  t.match(await victim.send(path), { status: 303, location: '/' }, 'none of it took the sign-in away')
  await expectRefusal(victim, path, 'the same callback again')
  t.match(await victim.send('/customers'), { status: 200 })
})

t.test(
  'OpenID Connect Core §3.1.3.7, RFC 9207 §2.4, RFC 7636 §4.6: an answer to another request is refused',
  async (t) => {
    const world = await startIntranetWithLogins(t)
    const tampered = (change: (url: URL) => void) => async (visitor: Visitor) => {
      const url = await visitor.open('/login')
      change(url)
      return visitor.answer(url)
    }
    const attacks: Record<string, (visitor: Visitor) => Promise<string>> = {
      'another nonce': tampered((url) => url.searchParams.set('nonce', 'x'.repeat(43))),
      'no nonce': tampered((url) => url.searchParams.delete('nonce')),
      'another code_challenge': tampered((url) => url.searchParams.set('code_challenge', 'x'.repeat(43))),
      'the code of another sign-in': async (visitor) => {
        const own = new URL(await visitor.answer(await visitor.open('/login')), world.url)
        const other = new URL(await visitor.answer(await visitor.open('/login')), world.url)
        own.searchParams.set('code', other.searchParams.get('code') as string)
        return own.pathname + own.search
      },
      'another issuer': async (visitor) => {
        const own = new URL(await visitor.answer(await visitor.open('/login')), world.url)
        own.searchParams.set('iss', 'https://evil.example')
        return own.pathname + own.search
      },
      'a made-up code': async (visitor) => {
        const own = new URL(await visitor.answer(await visitor.open('/login')), world.url)
        own.searchParams.set('code', 'made-up')
        return own.pathname + own.search
      },
    }
    for (const [name, attack] of Object.entries(attacks)) {
      const visitor = new Visitor(world)
      t.match(await visitor.send(await attack(visitor)), { status: 403, text: 'That did not work' }, name)
      t.equal(visitor.session, undefined, `${name}: nobody is signed in`)
    }
    t.match(world.log.at(-1), { level: 40, msg: 'sign-in failed', fault: 'refused', detail: 'invalid_grant' })
  },
)

t.test('RFC 9470 §5: a step-up that brought no second factor opens nothing, and does not go in circles', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/customers')
  const session = visitor.session
  const url = await visitor.open('/employees')
  for (const name of ['acr_values', 'max_age']) url.searchParams.delete(name)
  url.searchParams.set('scope', 'openid')
  const answer = await visitor.send(await visitor.answer(url))
  t.strictSame(visitor.asked, [], 'the authorization server was talked out of asking')
  t.match(answer, { status: 403, text: 'That did not work', location: undefined })
  t.equal(visitor.session, session)
  t.match(await visitor.send('/employees'), { status: 303 })
  t.match(await visitor.send('/customers'), { status: 200 })
  t.match(
    world.log.filter(({ msg }) => msg === 'step-up failed'),
    [{ level: 40, person: 'alice', fault: 'refused' }],
  )
})

t.test('RFC 9470 §4: a step-up lasts as long as max_age, and only the second factor renews it', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/employees')
  t.match(await visitor.send('/employees'), { status: 200 })
  world.clock.advance(899_000)
  t.match(await visitor.send('/employees'), { status: 200 })
  world.clock.advance(2_000)
  t.match(await visitor.send('/employees'), { status: 303, location: '/login/mfa?return_to=%2Femployees' })
  t.match(await visitor.send('/customers'), { status: 200 }, 'the rest stays open')

  await visitor.visit('/login')
  t.strictSame(visitor.asked, [], 'single sign-on')
  t.match(await visitor.send('/employees'), { status: 303 }, 'and that is no fresh second factor')
  await visitor.visit('/employees')
  t.strictSame(visitor.asked, ['second factor'])
  t.match(await visitor.send('/employees'), { status: 200 })
})

t.test(
  'a second factor that was given a moment ago counts for a new session too, as acr and auth_time say',
  async (t) => {
    const world = await startIntranetWithLogins(t)
    const visitor = new Visitor(world)
    await visitor.visit('/login/mfa')
    visitor.cookies.clear()
    t.match(await visitor.visit('/login'), { status: 303 })
    t.strictSame(visitor.asked, [])
    t.match((await visitor.send('/profile')).text, '&quot;normal&quot;', 'what was asked for this time')
    t.match(await visitor.send('/employees'), { status: 200 })
    world.clock.advance(901_000)
    t.match(await visitor.send('/employees'), { status: 303 })
  },
)

t.test('ASVS 7.2.4: the session id is new after each authentication, and a planted one is worth nothing', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  visitor.cookies.set('fabrikam_session', 'planted')
  const seen = ['planted']
  for (const path of ['/login', '/login', '/login/mfa']) {
    await visitor.visit(path)
    const { session = '' } = visitor
    t.match(session, /^[\w-]{43}$/)
    t.notOk(seen.includes(session))
    seen.push(session)
  }
  const stranger = new Visitor(world)
  for (const id of seen.slice(0, -1)) {
    stranger.cookies.set('fabrikam_session', id)
    t.match(await stranger.send('/customers'), { status: 303 }, 'an id from before')
  }
})

t.test('somebody else who steps up in the same browser gets a session of their own', async (t) => {
  const world = await startIntranetWithLogins(t)
  const minutes = (count: number) => world.clock.advance(count * 60_000)
  const visitor = new Visitor(world)
  await visitor.visit('/login')
  // A browser with alice's session here, and nobody's at the authorization server.
  const other = new Visitor(world)
  other.cookies.set('fabrikam_session', visitor.session as string)
  minutes(20)
  t.match(await other.send('/profile'), { status: 200, text: '<span>alice</span>' })
  t.match(await other.visit('/login/mfa', { person: bob }), { status: 303 })
  t.strictSame(other.asked, ['password', 'second factor'])
  const profile = await other.send('/profile')
  t.match(profile.text, '<span>bob</span>')
  t.match(profile.text.replaceAll('<wbr>', ''), '<code>&quot;bob&quot;</code>')
  t.notMatch(profile.text, 'alice')
  t.notMatch(profile.text, '>Before<', 'nothing of what alice was')
  t.match(await visitor.send('/customers'), { status: 303 }, 'alice’s session has ended')
  for (let passed = 0; passed < 8 * 60; passed += 20) {
    t.match(await other.send('/customers'), { status: 200 }, `bob’s lasts its own 8 hours: after ${passed} minutes`)
    minutes(20)
  }
})

t.test('RFC 9700 §4.11: the way back leads into the intranet only', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  for (const path of ['/login', '/login/mfa']) {
    for (const evil of ['//evil.example', '/\\evil.example', 'https:evil.example', '/%2e//evil.example', '/\r\nx: y']) {
      const { location } = await visitor.visit(`${path}?return_to=${encodeURIComponent(evil)}`)
      t.equal(location, '/', `${path} ${JSON.stringify(evil)}`)
    }
  }
  t.match(await visitor.visit('/login?return_to=/profile&return_to=//evil.example'), { location: '/' }, 'twice')
  t.match(await visitor.visit('/login?return_to=/customers%3Fpage=2'), { location: '/customers?page=2' })
})

t.test('ASVS 3.5.1: only the intranet’s own form signs out', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  await visitor.visit('/login')
  const form = { 'content-type': 'application/x-www-form-urlencoded' }
  const foreign: Record<string, Record<string, string>> = {
    'no Origin': form,
    'another origin': { ...form, origin: 'https://evil.example' },
    'another port of this host': { ...form, origin: world.issuer },
    'a hidden origin': { ...form, origin: 'null' },
    'Fetch Metadata that says cross-site': { ...form, origin: world.url, 'sec-fetch-site': 'cross-site' },
    'Fetch Metadata that says same-site': { ...form, origin: world.url, 'sec-fetch-site': 'same-site' },
  }
  for (const [name, headers] of Object.entries(foreign)) {
    t.match(await visitor.send('/logout', { method: 'POST', headers }), { status: 403 }, name)
    t.match(await visitor.send('/customers'), { status: 200 }, `${name}: still signed in`)
  }
  t.match(await visitor.send('/logout'), { status: 404 }, 'a link or a picture signs nobody out')

  const session = visitor.session as string
  const answer = await visitor.send('/logout', ownForm(world.url))
  t.equal(answer.status, 303)
  const endSession = new URL(answer.location as string)
  t.equal(endSession.origin + endSession.pathname, `${world.issuer}/session/end`)
  t.strictSame(Object.fromEntries(endSession.searchParams), {
    client_id: 'fabrikam-intranet',
    post_logout_redirect_uri: `${world.url}/signed-out`,
  })
  t.equal(visitor.session, undefined, 'the cookie is gone')
  visitor.cookies.set('fabrikam_session', session)
  t.match(await visitor.send('/customers'), { status: 303 }, 'and the session with it')
  t.match(await visitor.send('/signed-out'), { status: 200, text: 'You are signed out' })
})

t.test('who cancels reads what that means, and can go on', async (t) => {
  const world = await startIntranetWithLogins(t)
  const visitor = new Visitor(world)
  t.match(await visitor.visit('/customers', { cancel: true }), { status: 403, text: 'You did not sign in' })
  await visitor.visit('/customers')
  const denied = await visitor.visit('/employees', { cancel: true })
  t.match(denied, { status: 403, text: 'You did not give your second factor' })
  t.match(denied.text, 'href="/login/mfa?return_to=%2Femployees"')
  t.match(world.log.at(-1), {
    level: 40,
    msg: 'step-up failed',
    person: 'alice',
    fault: 'denied',
    detail: 'access_denied',
  })
  t.match(await visitor.send('/customers'), { status: 200 })
  t.match(await visitor.send('/employees'), { status: 303 })
})

t.test(
  'a sign-in is over after ten minutes, a session after 30 idle minutes, and after 8 hours in any case',
  async (t) => {
    const world = await startIntranetWithLogins(t)
    const minutes = (count: number) => world.clock.advance(count * 60_000)
    const visitor = new Visitor(world)
    const late = await visitor.answer(await visitor.open('/login'))
    minutes(10.1)
    t.match(await visitor.send(late), { status: 400, text: 'This sign-in is over' })

    await visitor.visit('/login')
    minutes(29)
    t.match(await visitor.send('/customers'), { status: 200 })
    minutes(29)
    t.match(await visitor.send('/customers'), { status: 200 }, 'each request counts')
    minutes(31)
    t.match(await visitor.send('/customers'), { status: 303 })

    await visitor.visit('/login')
    for (let passed = 0; passed < 8 * 60; passed += 20) {
      t.match(await visitor.send('/customers'), { status: 200 }, `after ${passed} minutes`)
      minutes(20)
      if (passed === 240) await visitor.visit('/login/mfa')
    }
    minutes(1)
    t.match(await visitor.send('/customers'), { status: 303 }, 'a step-up does not prolong it')

    await visitor.visit('/login')
    for (let passed = 0; passed < 12 * 60; passed += 20) {
      if (passed === 240) await visitor.visit('/login')
      t.match(await visitor.send('/customers'), { status: 200 }, `after ${passed} minutes`)
      minutes(20)
    }
    minutes(1)
    t.match(await visitor.send('/customers'), { status: 303 }, 'a new sign-in begins anew')
  },
)

t.test('without the authorization server the intranet says so, signs out, and recovers', async (t) => {
  const world = await startIntranetWithLogins(t)
  await world.stopIssuer()
  const visitor = new Visitor(world)
  const down = await visitor.send('/login?return_to=/customers')
  t.match(down, { status: 503, text: 'The sign-in service cannot be reached' })
  t.equal(down.headers.get('retry-after'), '5')
  const signedOut = await visitor.send('/logout', ownForm(world.url))
  t.match(signedOut, { status: 200, text: 'you may still be signed in there', location: undefined })
  t.match(world.log.at(-1), { level: 40, msg: 'signed out here only', fault: 'unavailable', detail: /./ })
  await world.restartIssuer()
  const path = await visitor.answer(await visitor.open('/customers'))
  await world.stopIssuer()
  t.match(await visitor.send(path), { status: 503 }, 'at the token endpoint too')
  t.equal(visitor.session, undefined)
  await world.restartIssuer()
  t.match(await visitor.visit('/customers'), { status: 303, location: '/customers' }, 'with new keys as well')
})

const state = 'x'.repeat(43)

/** The intranet without a listener, for what needs no authorization server. */
async function buildAlone(t: Test, publicUrl: string): Promise<FastifyInstance> {
  const url = 'https://login.example'
  const provider = createOpenIdProvider({
    issuer: url,
    clientId: 'fabrikam-intranet',
    privateKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    redirectUri: `${publicUrl}/callback`,
    postLogoutRedirectUri: `${publicUrl}/signed-out`,
  })
  const begin = async () => ({
    url: new URL('https://login.example/auth'),
    checks: { state, nonce: 'nonce', pkceCodeVerifier: 'verifier', maxAgeSeconds: undefined },
  })
  const finish = async () => ({ sub: '<alice>', acr: 'weak' })
  const clock = new ManualClock()
  const app = await buildIntranet({
    publicUrl,
    issuer: url,
    provider: { ...provider, begin, finish },
    stepUp: intranetStepUp,
    clock,
  })
  t.teardown(() => app.close())
  return app
}

t.test('RFC 6265bis §4.1.3: the cookies’ attributes', async (t) => {
  for (const [publicUrl, prefix, secure] of [
    ['https://intranet.example', '__Host-', '; Secure'],
    ['http://127.0.0.1:4200', '', ''],
  ]) {
    const app = await buildAlone(t, publicUrl as string)
    const away = await app.inject('/login')
    const [browser = ''] = [away.headers['set-cookie']].flat()
    t.match(
      browser,
      new RegExp(
        `^${prefix}fabrikam_sign_in_x{43}=[\\w.-]{200,400}; Max-Age=600; Path=/; HttpOnly${secure}; SameSite=Lax$`,
      ),
    )
    const cookie = browser.slice(0, browser.indexOf(';'))
    const back = await app.inject({ url: `/callback?code=any&state=${state}`, headers: { cookie } })
    const [taken, session] = [back.headers['set-cookie']].flat()
    t.match(taken, new RegExp(`^${prefix}fabrikam_sign_in_x{43}=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970`))
    t.match(session, new RegExp(`^${prefix}fabrikam_session=[\\w-]{43}; Path=/; HttpOnly${secure}; SameSite=Lax$`))
  }
})

t.test('every answer has the headers of a page that is not to be stored, framed or scripted', async (t) => {
  const app = await buildAlone(t, 'https://intranet.example')
  app.get('/broken', async () => {
    throw new Error('a secret')
  })
  const policy = { requirement: intranetStepUp, leewaySeconds: 5, clock: new ManualClock() }
  app.post('/pay-rise', { preHandler: requireMultiFactor({ ...policy, claims: () => undefined }) }, async () => 'done')
  const cases: [method: 'GET' | 'POST', path: string, status: number, text: string][] = [
    ['GET', '/', 200, 'Fabrikam'],
    ['GET', '/employees', 303, ''],
    ['GET', '/callback', 400, 'This sign-in is over'],
    ['GET', '/nowhere', 404, 'This page does not exist'],
    ['POST', '/pay-rise', 403, 'Nothing was changed'],
    ['POST', '/logout', 403, 'another site'],
    ['GET', '/broken', 500, 'Something went wrong'],
  ]
  for (const [method, url, status, text] of cases) {
    const answer = await app.inject({ method, url })
    t.equal(answer.statusCode, status, url)
    t.match(answer.body, text)
    t.notMatch(answer.body, 'a secret')
    t.match(answer.headers, {
      'cache-control': 'no-store',
      'content-security-policy':
        /^default-src 'none'; style-src 'sha256-[\w+/=]+'; img-src 'self'; form-action 'self' https:\/\/login\.example; base-uri 'none'; frame-ancestors 'none'$/,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
    })
  }
  const other = await app.inject({
    method: 'POST',
    url: '/logout',
    headers: { 'content-type': 'application/xml' },
    body: 'x',
  })
  t.match(other, { statusCode: 415, body: /This cannot be done/ })
})

t.test('what a claim says is shown as text', async (t) => {
  const app = await buildAlone(t, 'http://127.0.0.1:4200')
  const away = await app.inject('/login')
  const cookie = (line: unknown) => /^[^;]*/.exec(String(line))?.[0] as string
  const headers = { cookie: cookie(away.headers['set-cookie']) }
  const back = await app.inject({ url: `/callback?code=any&state=${state}`, headers })
  const page = await app.inject({
    url: '/profile',
    headers: { cookie: cookie([back.headers['set-cookie']].flat()[1]) },
  })
  t.match(page.body, '&lt;alice&gt;')
  t.notMatch(page.body, '<alice>')
})

t.test('the authorization server gives the client nothing but this', async (t) => {
  const { url, issuer } = await startIntranetWithLogins(t)
  const query = new URLSearchParams({
    client_id: 'fabrikam-intranet',
    response_type: 'code',
    redirect_uri: `${url}/callback`,
    scope: 'openid transfer:funds',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  })
  const refused = await fetch(`${issuer}/auth?${query}`, { redirect: 'manual' })
  t.match(refused.headers.get('location'), /error=invalid_scope/, 'no scope of the API')

  const body = new URLSearchParams({ grant_type: 'authorization_code', client_id: 'fabrikam-intranet', code: 'any' })
  const token = await fetch(`${issuer}/token`, { method: 'POST', body })
  t.equal(token.status, 401, 'RFC 7523 §3: no token without the client’s key')
  t.match(await token.json(), { error: 'invalid_client' })
})
