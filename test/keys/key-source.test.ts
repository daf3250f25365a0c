import t, { type Test } from 'tap'
import { JwksKeySource, type JwksKeySourceOptions, KeysUnavailable } from '#src/keys/key-source.js'
import { interceptTimers } from '../helpers/intercepted-timers.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { startTestApi } from '../helpers/test-api.js'
import { makeKey, TestIssuer } from '../helpers/test-issuer.js'

const dayMs = 86_400_000

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const allKeys = issuer.published

function breakIssuer(): void {
  issuer.override = (_request, response) => {
    response.writeHead(503).end()
    return true
  }
}

function setUp(t: Test, options: Partial<JwksKeySourceOptions> = {}) {
  issuer.override = undefined
  issuer.published = allKeys
  issuer.requests.length = 0
  const clock = new ManualClock()
  const refreshes: unknown[] = []
  let told: ((fault: unknown) => void) | undefined
  const source = new JwksKeySource({
    issuer: issuer.url,
    jwksUri: undefined,
    algorithms: ['ES256', 'RS256'],
    clock,
    onRefresh: (fault) => {
      refreshes.push(fault)
      told?.(fault)
    },
    ...options,
  })
  t.teardown(() => source.close())
  const header = { alg: 'ES256', kid: issuer.keys.ES256.kid }
  /** Resolves when the next refresh has ended. */
  const nextRefresh = () =>
    new Promise<unknown>((resolve) => {
      told = resolve
    })
  const fetches = (path = '/jwks') => issuer.requests.filter((request) => request === path).length
  return { clock, fetches, header, nextRefresh, refreshes, source }
}

const forged = { alg: 'ES256', kid: 'forged' }

t.test('keys are loaded by discovery, when started or with the first request', async (t) => {
  const { fetches, header, nextRefresh, refreshes, source } = setUp(t)
  t.match(source, { state: 'none', epoch: undefined })
  const loaded = nextRefresh()
  source.start()
  t.match(await source.publicKey(header), 'BEGIN PUBLIC KEY', 'a request that comes earlier waits')
  await loaded
  t.match(source, { state: 'fresh', epoch: 1 })
  t.strictSame(issuer.requests, ['/.well-known/openid-configuration', '/jwks'])
  t.strictSame(refreshes, [undefined])
  t.equal(await source.publicKey({ ...header, alg: 'RS256' }), undefined, 'a key of another kind')
  t.equal(fetches(), 1, 'a known kid asks for nothing more')
})

t.test('a configured address needs no discovery', async (t) => {
  const { clock, header } = setUp(t)
  const jwksUri = `${issuer.url}/jwks`
  const source = new JwksKeySource({ issuer: 'https://issuer.example', jwksUri, algorithms: ['ES256'], clock })
  t.teardown(() => source.close())
  t.match(await source.publicKey(header), 'BEGIN PUBLIC KEY')
  t.strictSame(issuer.requests, ['/jwks'])
})

t.test('fifty first requests share one fetch', async (t) => {
  const timers = interceptTimers(t, [5000])
  const { header, refreshes, source } = setUp(t)
  const keys = await Promise.all(Array.from({ length: 50 }, () => source.publicKey(header)))
  t.equal(new Set(keys).size, 1)
  t.equal(issuer.requests.length, 2)
  t.equal(refreshes.length, 1)
  t.equal(timers.length, 3, 'one wait for all, and a deadline for each document')
  t.ok(
    timers.every(({ cleared }) => cleared),
    'none of which outlives the refresh',
  )
})

t.test('forged kids cost the issuer one fetch in 5 s, and hold up nobody else', async (t) => {
  const { clock, fetches, header, source } = setUp(t)
  await source.publicKey(header)
  const flood = () =>
    Promise.all(Array.from({ length: 300 }, (_, n) => source.publicKey({ alg: 'ES256', kid: `f${n}` })))
  t.ok((await flood()).every((key) => key === undefined))
  t.equal(fetches(), 1, 'the keys were loaded just now')
  clock.advance(4999)
  await flood()
  t.equal(fetches(), 1)
  clock.advance(1)
  let release = (): void => undefined
  issuer.override = (_request, response) => {
    release = () => response.end(JSON.stringify({ keys: issuer.published }))
    return true
  }
  const forgers = flood()
  t.match(await source.publicKey(header), 'BEGIN PUBLIC KEY', 'a known key is served while the fetch is under way')
  release()
  while (fetches() < 2) await new Promise(setImmediate)
  release()
  t.ok((await forgers).every((key) => key === undefined))
  t.equal(fetches(), 2)
})

t.test('a failed refresh keeps the keys, for 24 hours', async (t) => {
  const { clock, header, refreshes, source } = setUp(t)
  const key = await source.publicKey(header)
  breakIssuer()
  clock.advance(300_000)
  await t.rejects(source.publicKey(forged), KeysUnavailable, 'whether the issuer has that key cannot be known')
  t.match(source, { state: 'stale', epoch: 1 })
  t.match(refreshes, [undefined, { message: /answered 503/ }])
  t.equal(await source.publicKey(header), key)
  await t.rejects(source.publicKey(forged), KeysUnavailable, 'nor without asking again')
  t.equal(refreshes.length, 2)
  clock.advance(dayMs - 300_000)
  t.equal(await source.publicKey(header), key, 'to the last millisecond')
  clock.advance(1)
  t.match(source, { state: 'none', epoch: undefined })
  await t.rejects(source.publicKey(header), KeysUnavailable)
})

t.test('an issuer that is down from the start is asked again after 5 s, and recovery needs no restart', async (t) => {
  const timers = interceptTimers(t, [5000, 300_000])
  const { clock, header, refreshes, source } = setUp(t)
  breakIssuer()
  await t.rejects(source.publicKey(header), { name: 'KeysUnavailable' })
  t.equal(source.state, 'none')
  issuer.override = undefined
  clock.advance(4999)
  await t.rejects(source.publicKey(header), KeysUnavailable)
  clock.advance(1)
  t.match(await source.publicKey(header), 'BEGIN PUBLIC KEY')
  t.equal(source.state, 'fresh')
  t.match(refreshes, [{ name: 'AggregateError' }, undefined])
  t.equal(timers.at(-1)?.delayMs, 300_000)
  t.ok(
    timers.slice(0, -1).every(({ cleared }) => cleared),
    'and the attempt that was due is not needed any more',
  )
})

t.test('a clock that was set back does not stop refreshes', async (t) => {
  const { clock, fetches, header, source } = setUp(t)
  await source.publicKey(header)
  clock.advance(-3_600_000)
  t.equal(await source.publicKey(forged), undefined)
  t.equal(fetches(), 2)
  t.equal(source.state, 'fresh')
})

t.test('a refresh replaces the set', async (t) => {
  const { clock, header, source } = setUp(t)
  await source.publicKey(header)
  const rotated = makeKey('ES256')
  issuer.published = [rotated.jwk]
  clock.advance(5000)
  t.match(await source.publicKey({ alg: 'ES256', kid: rotated.kid }), 'BEGIN PUBLIC KEY')
  t.match(source, { state: 'fresh', epoch: 2 })
  t.equal(await source.publicKey(header), undefined, 'a removed key is gone')
  clock.advance(5000)
  await source.publicKey(header)
  t.equal(source.epoch, 2, 'the same set again changes nothing')
})

t.test('a failure leads through discovery again, since the issuer may have moved its keys', async (t) => {
  const { clock, fetches, header, source } = setUp(t)
  await source.publicKey(header)
  const moved = makeKey('ES256')
  issuer.override = (request, response) => {
    if (request.url === '/.well-known/openid-configuration') {
      response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/moved` }))
    } else if (request.url === '/moved') response.end(JSON.stringify({ keys: [moved.jwk] }))
    else response.writeHead(410).end()
    return true
  }
  clock.advance(5000)
  await t.rejects(source.publicKey({ alg: 'ES256', kid: moved.kid }), KeysUnavailable)
  t.equal(fetches('/.well-known/openid-configuration'), 1, 'the known address is asked first')
  clock.advance(5000)
  t.match(await source.publicKey({ alg: 'ES256', kid: moved.kid }), 'BEGIN PUBLIC KEY')
})

t.test('a set without a usable key is a failed refresh for 300 s, and then withdraws every key', async (t) => {
  const { clock, header, refreshes, source } = setUp(t)
  const key = await source.publicKey(header)
  const secret = issuer.keys.ES256.privateKey.export({ format: 'jwk' })
  for (const published of [[], [{ ...secret, kid: header.kid }], [{ kty: 'oct', k: 'AAAA', kid: header.kid }]]) {
    issuer.published = published
    clock.advance(5000)
    await t.rejects(source.publicKey(forged), KeysUnavailable)
    t.match(refreshes.at(-1), { message: 'the JWK Set holds no usable key' })
    t.equal(await source.publicKey(header), key)
    t.equal(source.state, 'stale')
  }
  breakIssuer()
  clock.advance(290_000)
  await t.rejects(source.publicKey(forged), KeysUnavailable)
  t.equal(await source.publicKey(header), key, 'an outage withdraws nothing')
  issuer.override = undefined
  clock.advance(5000)
  await t.rejects(source.publicKey(forged), KeysUnavailable)
  t.match(source, { state: 'none', epoch: undefined }, 'nothing for 300 s')
  await t.rejects(source.publicKey(header), KeysUnavailable)
  issuer.published = allKeys
  clock.advance(5000)
  t.equal(await source.publicKey(header), key)
  t.match(source, { state: 'fresh', epoch: 2 }, 'what was verified before is verified again')
  issuer.published = []
  clock.advance(300_000)
  await t.rejects(source.publicKey(forged), KeysUnavailable)
  t.equal(source.state, 'stale', 'the time counts anew')
})

t.test('what is no JWK Set withdraws nothing', async (t) => {
  const { clock, header, refreshes, source } = setUp(t)
  const key = await source.publicKey(header)
  issuer.override = ({ url }, response) => {
    if (url === '/jwks') response.end('{"keys":null}')
    return url === '/jwks'
  }
  for (let minutes = 0; minutes < 20; minutes += 1) {
    clock.advance(60_000)
    await t.rejects(source.publicKey(forged), KeysUnavailable)
    t.match(refreshes.at(-1), { message: 'the document is no JWK Set' })
  }
  t.equal(await source.publicKey(header), key)
})

t.test('keys serve an outage for maxStaleSeconds after the issuer last confirmed them', async (t) => {
  for (const maxStaleSeconds of [60, 172_800]) {
    t.test(`${maxStaleSeconds} s`, async (t) => {
      const { clock, header, source } = setUp(t, { maxStaleSeconds })
      await source.publicKey(header)
      breakIssuer()
      clock.advance(5000)
      await t.rejects(source.publicKey(forged), KeysUnavailable)
      clock.advance(maxStaleSeconds * 1000 - 5000)
      t.match(source, { state: 'stale', epoch: 1 }, 'to the last millisecond')
      clock.advance(1)
      t.match(source, { state: 'none', epoch: undefined })
      await t.rejects(source.publicKey(header), KeysUnavailable)
    })
  }

  t.test('0 s: keys serve between refreshes, and no outage', async (t) => {
    const { clock, fetches, header, source } = setUp(t, { maxStaleSeconds: 0 })
    const key = await source.publicKey(header)
    clock.advance(2000)
    t.equal(await source.publicKey(header), key)
    t.equal(source.state, 'fresh')
    clock.advance(3000)
    t.equal(source.state, 'none', 'no refresh came in time')
    t.equal(await source.publicKey(header), key, 'so the request asks for one')
    t.equal(fetches(), 2)
    breakIssuer()
    clock.advance(5000)
    await t.rejects(source.publicKey(header), KeysUnavailable)
    t.equal(source.state, 'none')
  })
})

t.test('a clock that was set back lets keys serve no longer', async (t) => {
  const { clock, header, source } = setUp(t)
  await source.publicKey(header)
  breakIssuer()
  clock.advance(-10 * dayMs)
  t.equal(source.ageSeconds, 0)
  await t.rejects(source.publicKey(forged), KeysUnavailable)
  clock.advance(dayMs)
  t.equal(source.state, 'stale')
  clock.advance(1)
  t.equal(source.state, 'none')
})

t.test('the age of the keys is counted from their last confirmation, or from the start', async (t) => {
  const { clock, header, source } = setUp(t)
  breakIssuer()
  clock.advance(7000)
  await t.rejects(source.publicKey(header), KeysUnavailable)
  t.equal(source.ageSeconds, 7)
  issuer.override = undefined
  clock.advance(5000)
  await source.publicKey(header)
  t.equal(source.ageSeconds, 0)
  breakIssuer()
  clock.advance(90_500)
  await t.rejects(source.publicKey(forged), KeysUnavailable)
  t.equal(source.ageSeconds, 90.5)
})

t.test('kids that name several keys are told once for each set, and cut', async (t) => {
  const warnings: string[] = []
  const { clock, header, source } = setUp(t, { onWarning: (warning) => warnings.push(warning) })
  const twice = (kid: string) => [makeKey('ES256', kid).jwk, makeKey('ES256', kid).jwk]
  issuer.published = [...allKeys, ...twice('a'), ...twice('b'.repeat(1000))]
  for (let round = 0; round < 2; round += 1) {
    t.equal(await source.publicKey({ ...header, kid: 'a' }), undefined)
    t.match(await source.publicKey(header), 'BEGIN PUBLIC KEY')
    clock.advance(5000)
  }
  t.equal(warnings.length, 1)
  t.match(warnings[0], /^the issuer gives different keys one kid and none of them is used: ES256 a, ES256 b+$/)
  t.ok((warnings[0] as string).length < 400)
})

t.test('forged kids do not put off discovery: keys that moved are found within 300 s', async (t) => {
  const timers = interceptTimers(t, [300_000])
  const { clock, fetches, nextRefresh, source } = setUp(t)
  const moved = makeKey('ES256')
  await source.publicKey({ alg: 'ES256', kid: issuer.keys.ES256.kid })
  issuer.override = ({ url }, response) => {
    if (url === '/jwks') return false
    const body = url === '/moved' ? { keys: [moved.jwk] } : { issuer: issuer.url, jwks_uri: `${issuer.url}/moved` }
    response.end(JSON.stringify(body))
    return true
  }
  for (let elapsedMs = 5000; elapsedMs < 300_000; elapsedMs += 5000) {
    clock.advance(5000)
    t.equal(await source.publicKey(forged), undefined)
  }
  t.equal(fetches(), 60)
  t.equal(timers.length, 1, 'the timer set first is still the one')
  t.equal(timers[0]?.cleared, false)
  const refreshed = nextRefresh()
  timers[0]?.ring()
  t.equal(await refreshed, undefined)
  t.match(await source.publicKey({ alg: 'ES256', kid: moved.kid }), 'BEGIN PUBLIC KEY')
  t.equal(timers.length, 2)
})

t.test('a timer that rings while a forged kid refreshes is set again', async (t) => {
  const timers = interceptTimers(t, [300_000])
  const { clock, header, source } = setUp(t)
  await source.publicKey(header)
  clock.advance(5000)
  const refreshing = source.publicKey(forged)
  timers[0]?.ring()
  t.equal(await refreshing, undefined)
  t.equal(timers.length, 2)
  t.equal(timers[1]?.cleared, false)
})

t.test('nobody waits for a refresh for more than 5 s', async (t) => {
  const timers = interceptTimers(t, [5000])
  const { clock, fetches, header, nextRefresh, source } = setUp(t)
  const key = await source.publicKey(header)
  let release = (): void => undefined
  const reached = new Promise<void>((resolve) => {
    issuer.override = (_request, response) => {
      release = () => response.end(JSON.stringify({ keys: issuer.published }))
      resolve()
      return true
    }
  })
  const [patience, deadline] = [timers.length, timers.length + 1]
  clock.advance(5000)
  const waiting = source.publicKey(forged)
  await reached
  timers[patience]?.ring()
  await t.rejects(waiting, KeysUnavailable, 'whether the issuer has that key is not known yet')
  await t.rejects(source.publicKey(forged), KeysUnavailable, 'who comes later does not wait at all')
  t.equal(await source.publicKey(header), key)
  t.equal(fetches(), 2)
  t.equal(timers[deadline]?.cleared, false)
  const refreshed = nextRefresh()
  release()
  t.equal(await refreshed, undefined)
  while (await source.publicKey(forged).catch(() => true)) await new Promise(setImmediate)
  t.equal(fetches(), 2, 'the refresh went on, and its answer counts')
})

t.test('keys are refreshed every 300 s, and 5 s after a failure, until the source is closed', async (t) => {
  const timers = interceptTimers(t, [5000, 300_000])
  const { header, nextRefresh, refreshes, source } = setUp(t)
  await source.publicKey(header)
  const ringAfter = async (delayMs: number): Promise<unknown> => {
    t.equal(timers.at(-1)?.delayMs, delayMs)
    const refreshed = nextRefresh()
    timers.at(-1)?.ring()
    return refreshed
  }
  const rotated = makeKey('ES256')
  issuer.published = [rotated.jwk]
  t.equal(await ringAfter(300_000), undefined)
  t.equal(source.epoch, 2, 'a rotation is found without anybody asking')
  breakIssuer()
  t.match(await ringAfter(300_000), { message: /no usable metadata/ })
  issuer.override = undefined
  t.equal(await ringAfter(5000), undefined)
  t.equal(source.state, 'fresh')
  t.equal(timers.at(-1)?.delayMs, 300_000)
  source.close()
  t.equal(timers.at(-1)?.cleared, true)
  t.equal(refreshes.length, 4)
})

t.test('keys that may serve an outage for less than 600 s are refreshed twice in that time', async (t) => {
  for (const [maxStaleSeconds, intervalMs, retryMs] of [
    [0, 1000, 1000],
    [3, 1500, 1500],
    [20, 10_000, 5000],
    [599, 299_500, 5000],
    [600, 300_000, 5000],
  ] as const) {
    t.test(`${maxStaleSeconds} s`, async (t) => {
      const timers = interceptTimers(t, [intervalMs, retryMs, 5000])
      const { header, nextRefresh, source } = setUp(t, { maxStaleSeconds })
      await source.publicKey(header)
      t.equal(timers.at(-1)?.delayMs, intervalMs)
      breakIssuer()
      const refreshed = nextRefresh()
      timers.at(-1)?.ring()
      t.match(await refreshed, { message: /no usable metadata/ })
      t.equal(timers.at(-1)?.delayMs, retryMs)
    })
  }
})

t.test('an issuer that moves its keys without taking the old address down is followed within 300 s', async (t) => {
  const timers = interceptTimers(t, [5000, 300_000])
  issuer.override = undefined
  const { nextRefresh, source } = setUp(t)
  const moved = makeKey('ES256')
  await source.publicKey({ alg: 'ES256', kid: issuer.keys.ES256.kid })
  issuer.override = ({ url }, response) => {
    if (url === '/jwks') return false
    const { url: issuerUrl } = issuer
    const body = url === '/jwks2' ? { keys: [moved.jwk] } : { issuer: issuerUrl, jwks_uri: `${issuerUrl}/jwks2` }
    response.end(JSON.stringify(body))
    return true
  }
  const refreshed = nextRefresh()
  timers.at(-1)?.ring()
  t.equal(await refreshed, undefined)
  issuer.override = undefined
  t.type(await source.publicKey({ alg: 'ES256', kid: moved.kid }), 'string')
})

t.test('a source that is closed while it loads sets no timer', async (t) => {
  const timers = interceptTimers(t, [5000, 300_000])
  const { nextRefresh, source } = setUp(t)
  const loaded = nextRefresh()
  source.start()
  source.close()
  t.equal(await loaded, undefined)
  t.ok(timers.every(({ delayMs, cleared }) => cleared || delayMs !== 300_000))
})

t.test('over HTTP', async (t) => {
  issuer.override = undefined
  issuer.published = allKeys
  const { call, clock, tokens } = await startTestApi(t, { issuer })
  const token = tokens.read({ exp: clock.nowSeconds + 90_000 })
  const read = (bearer: string) => call('GET', '/accounts', { token: bearer })

  t.equal((await read(token)).status, 200)
  t.equal((await read(token)).status, 200, 'from the tokens verified before')
  const rotated = makeKey('ES256')
  issuer.published = [rotated.jwk]
  clock.advance(5000)
  t.equal((await read(tokens.sign(tokens.claims(), {}, rotated))).status, 200, 'a new key is found at once')
  const refused = await read(token)
  t.equal(refused.status, 401, 'a removed key is refused, also for a token verified before')
  t.match(refused.challenge, 'error="invalid_token"')

  issuer.override = (_request, response) => {
    response.destroy()
    return true
  }
  clock.advance(5000)
  const unknown = await read(token)
  t.equal(unknown.status, 503, 'while the issuer is down a kid that is not known cannot be judged')
  t.equal(unknown.headers.get('retry-after'), '5')
  t.equal(unknown.challenge, null)
  t.equal((await read(tokens.sign(tokens.claims(), {}, rotated))).status, 200, 'known keys still serve')
  t.same((await call('GET', '/readyz')).body, { status: 'degraded' })
  const lasting = tokens.sign(tokens.claims({ exp: clock.nowSeconds + 90_000 }), {}, rotated)
  t.equal((await read(lasting)).status, 200)
  clock.advance(dayMs)
  t.equal((await read(lasting)).status, 503, 'after 24 hours nothing can be verified, whatever was verified before')
  t.equal((await call('GET', '/readyz')).status, 503)

  issuer.override = undefined
  issuer.published = [...allKeys, rotated.jwk]
  clock.advance(5000)
  t.equal((await read(tokens.read())).status, 200, 'recovery needs no restart')
  t.same((await call('GET', '/readyz')).body, { status: 'ok' })
})
