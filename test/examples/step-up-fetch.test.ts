import { randomUUID } from 'node:crypto'
import { clockSkew, customFetch, DPoP, generateKeyPair } from 'oauth4webapi'
import t from 'tap'
import {
  type ApiRequest,
  type Grant,
  StepUpRequired,
  stepUpFetch,
  TokenRefused,
} from '../../examples/bank-web/step-up-fetch.js'
import { acrMfa, publicUrl, startTestApi, transferBody } from '../helpers/test-api.js'
import type { Claims } from '../helpers/test-issuer.js'

const { tokens, url, clock } = await startTestApi(t, { environment: { DPOP: 'require', DPOP_NONCE: 'on' } })
const clientClock = { [clockSkew]: clock.nowSeconds - Math.floor(Date.now() / 1000) }
const keyPair = await generateKeyPair('ES256', { extractable: false })
const dpop = DPoP(clientClock, keyPair)
const cnf = { jkt: await dpop.calculateThumbprint() }
let sent = 0

interface FetchOptions {
  method: string
  headers: Record<string, string>
  body?: unknown
}

/** The public address leads to the test server, as a proxy would have it. `change` replaces what it answered. */
function through(change: (answer: Response, resend: () => Promise<Response>) => Response | Promise<Response>) {
  return {
    [customFetch]: async (address: string, { method, headers, body }: FetchOptions) => {
      sent += 1
      const send = () =>
        fetch(address.replace(publicUrl, url), { method, headers, ...(typeof body === 'string' ? { body } : {}) })
      return change(await send(), send)
    },
  }
}

const options = through((answer) => answer)

/** A browser repeats a request, proof and all, when its connection breaks. The page sees the second answer alone. */
function resendingOnce() {
  let isDone = false
  return through((answer, resend) => {
    if (isDone || answer.status === 401) return answer
    isDone = true
    return resend()
  })
}

function grant(claims: Claims = {}): Grant {
  const scope = typeof claims['scope'] === 'string' ? claims['scope'] : 'read:accounts'
  return { accessToken: tokens.read({ cnf, scope, ...claims }), scope, dpop }
}

const strong = (claims: Claims = {}) => grant({ scope: 'transfer:funds', acr: acrMfa, ...claims })

function transfer(changes: Record<string, unknown> = {}): ApiRequest {
  return {
    url: new URL('/transfers', publicUrl),
    method: 'POST',
    headers: new Headers({ 'content-type': 'application/json', 'idempotency-key': randomUUID() }),
    body: JSON.stringify(transferBody(changes)),
  }
}

function withoutKey(request: ApiRequest): ApiRequest {
  return { ...request, headers: new Headers({ 'content-type': 'application/json' }) }
}

/** What a request is refused with: the kind of error, and what to ask the authorization server for. */
async function refusal(own: Grant, request: ApiRequest, requestOptions = options) {
  try {
    const { status, headers } = await stepUpFetch(own, request, requestOptions)
    return { status, ...(headers.has('idempotency-replayed') && { replayed: true }) }
  } catch (error) {
    if (!(error instanceof StepUpRequired || error instanceof TokenRefused)) throw error
    const { name } = error
    const { authorization_details: details, ...others } = error.parameters
    const parameters = { ...others, ...(details !== undefined && { authorization_details: JSON.parse(details) }) }
    return { name, parameters, ...('problemType' in error && { problem: error.problemType?.split('/').at(-1) }) }
  }
}

t.test('RFC 9449 §9: the nonce is learned once, and the request repeated', async (t) => {
  const accounts = { url: new URL('/accounts', publicUrl) }
  t.equal((await stepUpFetch(grant(), accounts, options)).status, 200)
  t.equal(sent, 2)
  t.equal((await stepUpFetch(grant(), accounts, options)).status, 200)
  t.equal(sent, 3)
})

t.test('a scope that is known to be missing is asked for without asking the API', async (t) => {
  const before = sent
  const needs = { scope: 'transfer:funds', authorization_details: '[]' }
  const asked = { ...needs, authorization_details: [] }
  t.strictSame(await refusal(grant(), { ...transfer(), needs }), { name: 'StepUpRequired', parameters: asked })
  t.equal(sent, before)
})

t.test('each challenge becomes what to ask the authorization server for', async (t) => {
  const stepUp = { scope: 'transfer:funds', acr_values: acrMfa, max_age: '300' }
  const used = strong()
  t.strictSame(await refusal(used, transfer()), { status: 201 })
  const other = transferBody({ instructedAmount: { currency: 'EUR', amount: '99.00' } })
  const authorization_details = [{ type: 'payment_initiation', ...transferBody() }]
  const cases: [string, Grant, ApiRequest, object][] = [
    ['RFC 6750 §3.1: the scope is missing', grant(), transfer(), { name: 'StepUpRequired', parameters: stepUp }],
    ['RFC 9470 §3: too weak', strong({ acr: 'x' }), transfer(), { name: 'StepUpRequired', parameters: stepUp }],
    ['RFC 9470 §3: too old', strong({ auth_time: 1 }), transfer(), { name: 'StepUpRequired', parameters: stepUp }],
    [
      'RFC 9396: for another payment',
      strong({ authorization_details }),
      { ...transfer(), body: JSON.stringify(other) },
      {
        name: 'StepUpRequired',
        parameters: { ...stepUp, authorization_details: [{ type: 'payment_initiation', ...other }] },
      },
    ],
    ['used before', used, transfer(), { name: 'TokenRefused', parameters: stepUp, problem: 'token-already-used' }],
    [
      'expired',
      strong({ exp: 1 }),
      transfer(),
      { name: 'TokenRefused', parameters: { scope: 'transfer:funds' }, problem: 'expired-token' },
    ],
  ]
  for (const [title, own, request, expected] of cases) t.strictSame(await refusal(own, request), expected, title)
})

t.test('answers without a challenge are passed on', async (t) => {
  t.strictSame(await refusal(strong(), transfer({ instructedAmount: { currency: 'EUR', amount: '9999.00' } })), {
    status: 422,
  })
  t.strictSame(await refusal(grant(), { url: new URL('/accounts/nobody', publicUrl) }), { status: 404 })
})

t.test('RFC 9110 §9.2.2: what was refused for its proof is repeated only where that cannot do it twice', async (t) => {
  const doubts: string[] = []
  const doubting = (name: string, request: ApiRequest) => ({ ...request, onDoubt: () => doubts.push(name) })

  let before = sent
  const accounts = doubting('GET', { url: new URL('/accounts', publicUrl) })
  t.strictSame(await refusal(grant(), accounts, resendingOnce()), { status: 200 })
  t.equal(sent, before + 2, 'a safe method')

  before = sent
  const booked = await refusal(strong(), doubting('with a key', transfer()), resendingOnce())
  t.strictSame(booked, { status: 201, replayed: true })
  t.equal(sent, before + 2, 'a key')

  before = sent
  const refused = await refusal(strong(), doubting('without a key', withoutKey(transfer())), resendingOnce())
  t.match(refused, { name: 'TokenRefused', problem: 'invalid-dpop-proof' })
  t.equal(sent, before + 1, 'neither')
  t.strictSame(doubts, ['GET', 'with a key', 'without a key'], 'the caller is told that a copy may have been taken')
})

t.test('RFC 9449 §8: for the nonce alone any request is repeated, and for a refused proof once more', async (t) => {
  const fresh = () => ({ ...strong(), dpop: DPoP(clientClock, keyPair) })
  const doubts: string[] = []
  let before = sent
  t.strictSame(await refusal(fresh(), { ...withoutKey(transfer()), onDoubt: () => doubts.push('') }), { status: 201 })
  t.equal(sent, before + 2)
  t.strictSame(doubts, [], 'it was refused before anything was done')

  before = sent
  t.strictSame(await refusal(fresh(), transfer(), resendingOnce()), { status: 201, replayed: true })
  t.equal(sent, before + 3)

  before = sent
  const wrongClock = { ...strong(), dpop: DPoP({ [clockSkew]: clientClock[clockSkew] - 3600 }, keyPair) }
  t.match(await refusal(wrongClock, transfer()), { name: 'TokenRefused', problem: 'invalid-dpop-proof' })
  t.ok(sent - before <= 3, 'not for ever')
})

t.test('the challenge counts, whatever became of the body', async (t) => {
  const expected = {
    name: 'StepUpRequired',
    parameters: { scope: 'transfer:funds', acr_values: acrMfa, max_age: '300' },
  }
  const bodies = [
    '',
    '{"type":',
    'null',
    '[]',
    '"text"',
    '1',
    '{"authorization_details":{}}',
    '{"authorization_details":"x"}',
  ]
  for (const body of bodies) {
    const broken = through(({ status, headers }) => new Response(body, { status, headers }))
    t.strictSame(await refusal(grant(), transfer(), broken), expected, JSON.stringify(body))
  }
  const brokenOff = through(({ status, headers }) => {
    const stream = new ReadableStream({ pull: (controller) => controller.error(new TypeError('network error')) })
    return new Response(stream, { status, headers })
  })
  t.strictSame(await refusal(grant(), transfer(), brokenOff), expected, 'an answer that breaks off')
  const expiredGrant = strong({ exp: 1 })
  const oddType = through(({ status, headers }) => new Response('{"type":1}', { status, headers }))
  t.strictSame(await refusal(expiredGrant, transfer(), oddType), {
    name: 'TokenRefused',
    parameters: { scope: 'transfer:funds' },
    problem: undefined,
  })
})

t.test('RFC 9449 §8: a copy whose nonce was too old says nothing of the one before it', async (t) => {
  const nonceMs = 120_000
  const handle = () => DPoP({ [clockSkew]: clock.nowSeconds - Math.floor(Date.now() / 1000) }, keyPair)
  const accounts = { url: new URL('/accounts', publicUrl) }
  for (const hasKey of [false, true]) {
    clock.advance(nonceMs - (clock.nowMs() % nonceMs))
    let nonce = ''
    const learning = through((answer) => {
      nonce = answer.headers.get('dpop-nonce') ?? nonce
      return answer
    })
    t.equal((await stepUpFetch({ ...grant(), dpop: handle() }, accounts, learning)).status, 200)
    // It is accepted for one second more, and a proof is made with it.
    clock.advance(2 * nonceMs - 1000)
    const own = { ...strong(), dpop: handle() }
    const offering = through(({ status, headers }) => {
      const offered = new Headers(headers)
      offered.set('dpop-nonce', nonce)
      return new Response(null, { status, headers: offered })
    })
    t.equal((await stepUpFetch({ ...grant(), dpop: own.dpop }, accounts, offering)).status, 200)

    const answers: number[] = []
    let doubts = 0
    const resending = through(async (answer, resend) => {
      answers.push(answer.status)
      if (answers.length > 1) return answer
      clock.advance(2000)
      const second = await resend()
      t.match(second.headers.get('www-authenticate'), 'use_dpop_nonce')
      return second
    })
    const keyed = transfer()
    const request = { ...(hasKey ? keyed : withoutKey(keyed)), onDoubt: () => (doubts += 1) }
    const ended = await refusal(own, request, resending)
    if (hasKey) t.strictSame([ended, answers], [{ status: 201, replayed: true }, [201, 201]], 'a key')
    else t.match([ended, answers], [{ name: 'TokenRefused', problem: 'use-dpop-nonce' }, [201]], 'no key')
    t.equal(doubts, 1, 'the caller is told')
  }
})
