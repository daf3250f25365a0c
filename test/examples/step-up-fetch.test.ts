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
const dpop = DPoP(clientClock, await generateKeyPair('ES256', { extractable: false }))
const cnf = { jkt: await dpop.calculateThumbprint() }
let sent = 0

/** The public address leads to the test server, as a proxy would have it. */
const options = {
  [customFetch]: (
    address: string,
    { method, headers, body }: { method: string; headers: Record<string, string>; body?: unknown },
  ) => {
    sent += 1
    return fetch(address.replace(publicUrl, url), { method, headers, ...(typeof body === 'string' ? { body } : {}) })
  },
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

/** What a request is refused with: the kind of error, and what to ask the authorization server for. */
async function refusal(own: Grant, request: ApiRequest) {
  try {
    const { status } = await stepUpFetch(own, request, options)
    return { status }
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
