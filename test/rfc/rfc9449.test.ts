import { createHash, createHmac, createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { ProblemName } from '#src/core/problems.js'
import { ProofReplayStore } from '#src/replay/proof-replay-store.js'
import { parseChallenge } from '../helpers/challenges.js'
import { ProofMaker, type ProofRequest } from '../helpers/dpop.js'
import { ManualClock } from '../helpers/manual-clock.js'
import { exchangeOne, rawRequest } from '../helpers/raw-http.js'
import { checkRefusal } from '../helpers/refusals.js'
import { type Answer, balances, publicUrl, startTestApi, type TestApi, transferBody } from '../helpers/test-api.js'
import { type Claims, makeKey, signatureOf, TestIssuer } from '../helpers/test-issuer.js'

const issuer = await TestIssuer.start()
t.teardown(() => issuer.stop())
const clock = new ManualClock()
const api = await startTestApi(t, { issuer, clock })
const { call, port, tokens } = api
const client = new ProofMaker(clock)
const token = tokens.read(client.binding)
const toAccounts: ProofRequest = { method: 'GET', path: '/accounts', token }

const algorithms = 'ES256 Ed25519 EdDSA PS256'
const metadata = `resource_metadata="${publicUrl}/.well-known/oauth-protected-resource"`
const offer = `DPoP algs="${algorithms}", ${metadata}`
const bearerLine = `Bearer realm="stepgate", scope="read:accounts", ${metadata}`

function withProof(dpop: string, { token: text = token }: { token?: string } = {}): Promise<Answer> {
  return call('GET', '/accounts', { headers: { authorization: `DPoP ${text}`, dpop } })
}

const withClaims = (changes: Claims) => withProof(client.prove(toAccounts, changes))

/** Checks a refusal that only the DPoP line answers. */
function checkDpopOnly(t: Test, answer: Answer, problem: ProblemName, label = problem as string): void {
  checkRefusal(t, answer, [401, problem], label)
  t.equal(answer.challenges.length, 1, `${label}: no Bearer line`)
  const { scheme, parameters } = parseChallenge(answer.challenge as string)
  const { error, algs } = Object.fromEntries(parameters)
  t.strictSame([scheme, error, algs], ['DPoP', answer.body['error'], algorithms], label)
}

const refuseProof = (t: Test, answer: Answer, label?: string) => checkDpopOnly(t, answer, 'invalid-dpop-proof', label)

t.test('9449-7.1-4 (RFC 9449 §7.1): algs names what proofs may be signed with, and each of these works', async (t) => {
  const { challenges } = await call('GET', '/accounts')
  const named = new Map(parseChallenge(challenges[1] as string).parameters).get('algs')?.split(' ') ?? []
  t.equal(named.length, 4)
  for (const [alg, name] of [
    ['ES256', 'ES256'],
    ['EdDSA', 'EdDSA'],
    ['EdDSA', 'Ed25519'],
    ['PS256', 'PS256'],
  ] as const) {
    t.ok(named.includes(name), name)
    const maker = new ProofMaker(clock, { alg })
    const request = { ...toAccounts, token: tokens.read(maker.binding) }
    for (const use of ['first', 'second, from the cache']) {
      const proof = maker.sign(maker.claims(request), { alg: name })
      t.equal((await withProof(proof, request)).status, 200, `${name}, ${use}`)
    }
  }
})

t.test('9449-4.3-1 (RFC 9449 §4.3): exactly one DPoP header field', async (t) => {
  const proof = () => client.prove(toAccounts)
  const get = (...fields: string[]) =>
    exchangeOne(port, rawRequest('GET', '/accounts', [`Authorization: DPoP ${token}`, ...fields]))
  const same = proof()
  const refused: [string, string[]][] = [
    ['none', []],
    ['empty', ['DPoP:']],
    ['two', [`DPoP: ${proof()}`, `DPoP: ${proof()}`]],
    ['two of one proof, in different case', [`DPoP: ${same}`, `dpop: ${same}`]],
    ['a good one, then another', [`DPoP: ${proof()}`, 'dpop: x']],
    ['a good one after another', ['dpop: x', `DPoP: ${proof()}`]],
    ['a good one and an empty one', [`DPoP: ${proof()}`, 'DPoP:']],
    ['two in one field', [`DPoP: ${proof()}, ${proof()}`]],
    ['a field with another name', [`DPoP-Proof: ${proof()}`]],
  ]
  for (const [name, fields] of refused) {
    const answer = await get(...fields)
    checkRefusal(t, answer, [401, 'invalid-dpop-proof'], name)
    const challenges = answer.fields.filter(([field]) => field === 'www-authenticate').map(([, value]) => value)
    t.match(challenges, [/^DPoP error="invalid_dpop_proof"/], name)
    t.equal(challenges.length, 1, `${name}: no Bearer line`)
  }
  t.equal((await get(`dPoP: ${same}`)).status, 200, 'the name in any case, and a proof that was refused is not used up')
})

t.test('9449-4.3-2 (RFC 9449 §4.3): a single well-formed JWT', async (t) => {
  const good = client.prove(toAccounts)
  const [header, payload, signature] = good.split('.') as [string, string, string]
  const forms = [
    'x',
    `${header}.${payload}`,
    `${header}.${payload}.`,
    `${good}.x`,
    `${good}=`,
    `"${good}"`,
    `${header}.${Buffer.from('no json').toString('base64url')}.${signature}`,
    `${Buffer.from('[]').toString('base64url')}.${payload}.${signature}`,
    client.sign('[]'),
    client.sign('null'),
    client.sign('"x"'),
    client.sign(client.claims(toAccounts), { crit: ['exp'] }),
  ]
  for (const form of forms) refuseProof(t, await withProof(form), form.slice(0, 12))
  refuseProof(t, await withClaims({ padding: 'x'.repeat(8000) }), 'longer than 8 KiB')
})

t.test('RFC 7519 §7.2: a proof that is not UTF-8 is refused rather than repaired', async (t) => {
  const jti = 'caf\u00e9'
  t.equal((await withClaims({ jti })).status, 200)
  const claims = JSON.stringify(client.claims(toAccounts, { jti }))
  refuseProof(t, await withProof(client.sign(Buffer.from(claims, 'latin1'))), 'claims')
  const [header, payload] = client.prove(toAccounts).split('.') as [string, string]
  const extended = Buffer.from(`${Buffer.from(header, 'base64url').toString().slice(0, -1)},"x":"\xe9"}`, 'latin1')
  const input = `${extended.toString('base64url')}.${payload}`
  refuseProof(t, await withProof(`${input}.${signatureOf(input, client.key).toString('base64url')}`), 'header')
})

t.test('9449-4.3-3 (RFC 9449 §4.3): all required claims', async (t) => {
  for (const name of ['jti', 'htm', 'htu', 'iat', 'ath']) {
    refuseProof(t, await withClaims({ [name]: undefined }), `no ${name}`)
    for (const odd of [null, '', 0, [], {}, ['x'], true]) {
      refuseProof(t, await withClaims({ [name]: odd }), `${name} ${JSON.stringify(odd)}`)
    }
  }
})

t.test('9449-11.1-3 (RFC 9449 §11.1): a jti has at most 256 characters', async (t) => {
  t.equal((await withClaims({ jti: 'j'.repeat(256) })).status, 200)
  refuseProof(t, await withClaims({ jti: 'j'.repeat(257) }), '257 characters')
})

t.test('9449-4.3-4 (RFC 9449 §4.3): typ is dpop+jwt', async (t) => {
  for (const typ of [undefined, null, '', 'JWT', 'at+jwt', 'dpop', 'dpop+jwt ', ['dpop+jwt'], 1]) {
    refuseProof(t, await withProof(client.sign(client.claims(toAccounts), { typ })), `typ ${JSON.stringify(typ)}`)
  }
})

t.test('9449-4.3-5 (RFC 9449 §4.3): an asymmetric algorithm that is supported, and never none', async (t) => {
  const rsa = new ProofMaker(clock, { alg: 'RS256' })
  const rsaToken = tokens.read(rsa.binding)
  const rs256 = rsa.sign(rsa.claims({ ...toAccounts, token: rsaToken }))
  refuseProof(t, await withProof(rs256, { token: rsaToken }), 'RS256')
  for (const alg of [
    'none',
    'None',
    'HS256',
    'es256',
    'ES384',
    'PS256',
    'EdDSA',
    'Ed25519',
    '',
    null,
    undefined,
    ['ES256'],
  ]) {
    refuseProof(t, await withProof(client.sign(client.claims(toAccounts), { alg })), `alg ${JSON.stringify(alg)}`)
  }
})

t.test('9449-11.6-1 (RFC 9449 §11.6): no symmetric key signs a proof', async (t) => {
  const secret = Buffer.alloc(32)
  const oct = { kty: 'oct', k: secret.toString('base64url') }
  const thumbprint = createHash('sha256')
    .update(JSON.stringify({ k: oct.k, kty: 'oct' }))
    .digest('base64url')
  const request = { ...toAccounts, token: tokens.read({ cnf: { jkt: thumbprint } }) }
  for (const alg of ['HS256', 'ES256']) {
    const unsigned = client.sign(client.claims(request), { alg, jwk: oct }).replace(/\.[^.]+$/, '')
    const mac = createHmac('sha256', secret).update(unsigned).digest('base64url')
    refuseProof(t, await withProof(`${unsigned}.${mac}`, request), alg)
  }
})

t.test('9449-11.6-2 (RFC 9449 §11.6): none is not allowed, in any spelling, with or without signature', async (t) => {
  for (const alg of ['none', 'None', 'NONE']) {
    const proof = client.sign(client.claims(toAccounts), { alg })
    for (const text of [proof, proof.replace(/[^.]+$/, '')]) refuseProof(t, await withProof(text), alg)
  }
})

t.test('9449-4.3-6 (RFC 9449 §4.3): the signature verifies with the key in jwk', async (t) => {
  for (const alg of ['ES256', 'EdDSA', 'PS256']) {
    const maker = new ProofMaker(clock, { alg })
    const request = { ...toAccounts, token: tokens.read(maker.binding) }
    t.equal((await withProof(maker.prove(request), request)).status, 200)
    const claims = maker.claims(request)
    refuseProof(t, await withProof(maker.sign(claims, {}, makeKey(alg)), request), `${alg}: by another key`)
    const [header, payload, signature] = maker.sign(claims).split('.') as [string, string, string]
    const zeros = Buffer.alloc(Buffer.from(signature, 'base64url').length).toString('base64url')
    const other = Buffer.from(JSON.stringify({ ...claims, jti: 'other' })).toString('base64url')
    for (const [name, text] of [
      ['zeros', `${header}.${payload}.${zeros}`],
      ['short', `${header}.${payload}.AAAA`],
      ['other claims', `${header}.${other}.${signature}`],
    ] as const) {
      refuseProof(t, await withProof(text, request), `${alg}: ${name}`)
    }
  }
  for (const jwk of [
    undefined,
    null,
    'x',
    [],
    {},
    { kty: 'EC' },
    { ...client.jwk, x: 'AAAA' },
    { ...client.jwk, y: 1 },
  ]) {
    refuseProof(t, await withProof(client.sign(client.claims(toAccounts), { jwk })), `jwk ${JSON.stringify(jwk)}`)
  }
})

t.test('9449-4.3-7 (RFC 9449 §4.3): no private key in jwk, and none that the policy refuses', async (t) => {
  const { d } = client.key.privateKey.export({ format: 'jwk' })
  const cases: [string, object][] = [
    ['the private key', { ...client.jwk, d }],
    ['a private member that is empty', { ...client.jwk, d: '' }],
    ['a symmetric key beside it', { ...client.jwk, k: 'AAAA' }],
    ['for encryption', { ...client.jwk, use: 'enc' }],
    ['for other operations', { ...client.jwk, key_ops: ['sign'] }],
    ['of another algorithm', { ...client.jwk, alg: 'ES384' }],
    ['of another curve', generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ format: 'jwk' })],
  ]
  for (const [name, jwk] of cases)
    refuseProof(t, await withProof(client.sign(client.claims(toAccounts), { jwk })), name)

  const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const weak = new ProofMaker(clock, { alg: 'PS256' })
  Object.assign(weak, {
    jwk: small.publicKey.export({ format: 'jwk' }),
    key: { ...weak.key, privateKey: createPrivateKey(small.privateKey.export({ type: 'pkcs8', format: 'pem' })) },
  })
  const request = { ...toAccounts, token: tokens.read(weak.binding) }
  refuseProof(t, await withProof(weak.prove(request), request), 'RSA of 1024 bits')
})

t.test('9449-4.3-8 (RFC 9449 §4.3): htm is the method of the request', async (t) => {
  for (const htm of ['POST', 'HEAD', 'get', 'GET ', '*']) refuseProof(t, await withClaims({ htm }), `htm ${htm}`)
  const head = (htm: string) =>
    fetch(`${api.url}/accounts`, { method: 'HEAD', headers: client.headers(toAccounts, { htm }) })
  t.strictSame([(await head('HEAD')).status, (await head('GET')).status], [200, 401])
})

t.test('9449-4.3-13 (RFC 9449 §4.3): addresses are normalised before they are compared', async (t) => {
  const same = [
    'HTTPS://API.EXAMPLE.COM/accounts',
    'https://api.example.com:443/accounts',
    'https://api.example.com:/accounts',
    'https://api%2eexample.com/accounts',
    `${publicUrl}/%61ccounts`,
    `${publicUrl}/x/.././accounts`,
    `${publicUrl}/%2e/accounts`,
  ]
  for (const htu of same) t.equal((await withClaims({ htu })).status, 200, htu)
})

t.test('9449-4.3-9 (RFC 9449 §4.3): htu is the address of the request, without query and fragment', async (t) => {
  for (const htu of [`${publicUrl}/accounts`, `${publicUrl}/accounts?limit=1`, `${publicUrl}/accounts#x`])
    t.equal((await withClaims({ htu })).status, 200, htu)
  const other = [
    'http://api.example.com/accounts',
    'https://api.example.com:8443/accounts',
    `http://127.0.0.1:${port}/accounts`,
    'https://api.example.com.evil.example/accounts',
    'https://user@api.example.com/accounts',
    'https://api.example.com',
    `${publicUrl}/`,
    `${publicUrl}/accounts/`,
    `${publicUrl}//accounts`,
    `${publicUrl}/Accounts`,
    `${publicUrl}/accounts%2F`,
    `${publicUrl}/accounts%`,
    `${publicUrl}\\accounts`,
    'https:///api.example.com/accounts',
    'https:/api.example.com/accounts',
    '/accounts',
    'accounts',
    ` ${publicUrl}/accounts`,
    `${publicUrl}/acc\tounts`,
    'https://[::/accounts',
    'https://api.example.com:99999/accounts',
  ]
  for (const htu of other) refuseProof(t, await withClaims({ htu }), `htu ${htu}`)
})

t.test('RFC 9449 §4.3 (9): what the caller says of itself in Host and forwarding headers never matters', async (t) => {
  const lies = [
    'Host: evil.example',
    'X-Forwarded-Host: evil.example',
    'X-Forwarded-Proto: http',
    'Forwarded: host=evil.example',
  ]
  const get = (htu: string) => {
    const fields = [...lies.slice(1), `Authorization: DPoP ${token}`, `DPoP: ${client.prove(toAccounts, { htu })}`]
    return exchangeOne(
      port,
      rawRequest('GET', '/accounts?limit=x', fields).replace('Host: api.example.com', lies[0] as string),
    )
  }
  t.equal((await get(`${publicUrl}/accounts`)).status, 400, 'the query is not valid, the proof is')
  t.equal((await get('http://evil.example/accounts')).status, 401)
})

t.test('RFC 9112 §3.2.2: a target in absolute form means its path, also for a proof', async (t) => {
  const get = (htu: string) => {
    const fields = [`Authorization: DPoP ${token}`, `DPoP: ${client.prove(toAccounts, { htu })}`]
    return exchangeOne(port, rawRequest('GET', 'http://evil.example/accounts?', fields))
  }
  t.equal((await get(`${publicUrl}/accounts`)).status, 200)
  t.equal((await get('http://evil.example/accounts')).status, 401)
})

t.test('9449-4.3-11 (RFC 9449 §4.3): iat lies within 60 seconds, either way', async (t) => {
  const now = clock.nowSeconds
  for (const iat of [now - 60, now + 60, now - 0.5]) t.equal((await withClaims({ iat })).status, 200, String(iat - now))
  for (const iat of [now - 61, now + 61, now * 1000, 0, -now, String(now)]) {
    refuseProof(t, await withClaims({ iat }), `iat ${iat}`)
  }
  const endless = JSON.stringify(client.claims(toAccounts)).replace(/"iat":\d+/, '"iat":1e400')
  refuseProof(t, await withProof(client.sign(endless)), 'iat that is infinite')
})

t.test('RFC 7519 §4.1.4, §4.1.5: a proof that says when it expires or begins means it', async (t) => {
  const now = clock.nowSeconds
  for (const changes of [{ exp: now + 1 }, { nbf: now }]) t.equal((await withClaims(changes)).status, 200)
  for (const changes of [{ exp: now }, { exp: null }, { nbf: now + 1 }, { nbf: 'x' }]) {
    refuseProof(t, await withClaims(changes), JSON.stringify(changes))
  }
})

t.test('9449-4.3-12 (RFC 9449 §4.3): ath is the digest of the token, whose key makes the proof', async (t) => {
  const other = tokens.read(client.binding)
  refuseProof(t, await withProof(client.prove({ ...toAccounts, token: other })), 'ath of another token')
  const thief = new ProofMaker(clock)
  checkDpopOnly(t, await withProof(thief.prove(toAccounts)), 'dpop-key-mismatch')
  const unbound = { ...toAccounts, token: tokens.read() }
  checkDpopOnly(
    t,
    await withProof(client.prove(unbound), unbound),
    'dpop-key-mismatch',
    'a token that is bound to no key',
  )
  t.equal((await withProof(client.prove(toAccounts))).status, 200)
})

t.test('9449-11.1-2 (RFC 9449 §11.1): a proof works once, whatever becomes of the request', async (t) => {
  const proof = client.prove(toAccounts)
  t.equal((await withProof(proof)).status, 200)
  refuseProof(t, await withProof(proof), 'again')
  const jti = randomUUID()
  t.equal((await withClaims({ jti })).status, 200)
  refuseProof(t, await withClaims({ jti, iat: clock.nowSeconds + 30 }), 'another proof with its jti')
  const other = new ProofMaker(clock)
  const request = { ...toAccounts, token: tokens.read(other.binding) }
  t.equal((await withProof(other.prove(request, { jti }), request)).status, 200, 'the jti of another key')

  const forTransfer = { method: 'POST', path: '/transfers', token }
  const headers = client.headers(forTransfer)
  const refused = await call('POST', '/transfers', { headers, json: transferBody() })
  t.equal(refused.status, 403)
  refuseProof(t, await call('POST', '/transfers', { headers, json: transferBody() }), 'after a 403')

  const early = client.prove(toAccounts, { iat: clock.nowSeconds + 60 })
  t.equal((await withProof(early)).status, 200)
  clock.advance(120_000)
  refuseProof(t, await withProof(early), 'to its last second')
})

t.test('RFC 9449 §11.1: a proof that is refused is not remembered', async (t) => {
  const jti = randomUUID()
  refuseProof(t, await withClaims({ jti, ath: 'x' }))
  const forged = tokens.sign({ ...tokens.claims(), ...client.binding }, {}, makeKey('ES256', issuer.keys.ES256.kid))
  const request = { ...toAccounts, token: forged }
  checkRefusal(t, await withProof(client.prove(request, { jti }), request), [401, 'invalid-token'])
  t.equal((await withClaims({ jti })).status, 200)
})

t.test('9449-7.2-1 (RFC 9449 §7.2): a token bound to a key is no bearer token, seen before or not', async (t) => {
  const proof = client.headers(toAccounts).dpop
  const fresh = tokens.read(client.binding)
  for (const text of [fresh, token, token]) {
    for (const headers of [{}, { dpop: proof }]) {
      const answer = await call('GET', '/accounts', { token: text, headers })
      checkRefusal(t, answer, [401, 'token-binding-not-proven'])
      const error = 'error="invalid_token", scope="read:accounts"'
      t.equal(answer.challenge?.startsWith(`Bearer realm="stepgate", ${error}, ${metadata}`), true)
      t.equal(answer.challenges[1], offer)
    }
  }
  t.equal((await withProof(proof)).status, 200, 'and its proof was not looked at')
})

t.test('RFC 9449 §7.2: both methods at once, or a malformed one, are 400 on the line of the scheme', async (t) => {
  const get = (target: string, ...fields: string[]) => exchangeOne(port, rawRequest('GET', target, fields))
  const proof = client.prove(toAccounts)
  const dpop = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`]
  for (const [name, answer] of [
    ['two fields', await get('/accounts', ...dpop, `Authorization: Bearer ${token}`)],
    ['token in the query too', await get('/accounts?access_token=x', ...dpop)],
    ['no token', await get('/accounts', 'Authorization: DPoP', `DPoP: ${proof}`)],
    ['two tokens', await get('/accounts', 'Authorization: DPoP a b', `DPoP: ${proof}`)],
  ] as const) {
    checkRefusal(t, answer, [400, 'invalid-request'], name)
    const line = answer.headers.get('www-authenticate')
    t.equal(line?.startsWith(`DPoP error="invalid_request", algs="${algorithms}", ${metadata}`), true, name)
  }
  t.equal((await withProof(proof)).status, 200)
})

t.test('9449-7.1-3 (RFC 9449 §7.1): a DPoP caller gets error and parameters on the DPoP line', async (t) => {
  const expired = tokens.read({ ...client.binding, exp: clock.nowSeconds - 5 })
  const answer = await withProof(client.prove({ ...toAccounts, token: expired }), { token: expired })
  checkRefusal(t, answer, [401, 'expired-token'])
  t.strictSame(answer.challenges, [
    bearerLine,
    `DPoP error="invalid_token", scope="read:accounts", algs="${algorithms}", ${metadata}, error_description="The access token expired"`,
  ])
  t.match(answer.body, { error: 'invalid_token', scope: 'read:accounts' })

  const forTransfer = { method: 'POST', path: '/transfers', token }
  const stepUp = await call('POST', '/transfers', { headers: client.headers(forTransfer), json: transferBody() })
  checkRefusal(t, stepUp, [403, 'step-up-required'])
  const asked = 'scope="transfer:funds", acr_values="urn:stepgate:acr:mfa", max_age="300"'
  t.strictSame(stepUp.challenges, [
    `DPoP error="insufficient_scope", ${asked}, algs="${algorithms}", ${metadata}, error_description="Multi-factor authentication is required for transfers"`,
  ])
})

t.test('9449-6-2 (RFC 9449 §6): a bound transfer token works once, and only with its key', async (t) => {
  const before = await balances(api)
  const strong = tokens.transfer(client.binding)
  const request = { method: 'POST', path: '/transfers', token: strong }
  const post = (maker: ProofMaker) =>
    call('POST', '/transfers', { headers: maker.headers(request), json: transferBody() })
  checkDpopOnly(t, await post(new ProofMaker(clock)), 'dpop-key-mismatch')
  checkRefusal(t, await call('POST', '/transfers', { token: strong, json: transferBody() }), [
    401,
    'token-binding-not-proven',
  ])
  t.strictSame(await balances(api), before, 'nothing moved, and the token is not used up')
  t.equal((await post(client)).status, 201)
  const again = await post(client)
  checkRefusal(t, again, [401, 'token-already-used'])
  t.match(again.challenges, [
    /^Bearer realm="stepgate", scope="transfer:funds", resource_metadata=[^ ]+$/,
    /^DPoP error="invalid_token", scope="transfer:funds", acr_values=/,
  ])
})

t.test('one client’s proofs cannot lock out another', async (t) => {
  const proofReplayStore = new ProofReplayStore({ maxEntries: 90, clock })
  const small = await startTestApi(t, { issuer, clock, proofReplayStore })
  const read = (maker: ProofMaker, text: string) =>
    small.call('GET', '/accounts', { headers: maker.headers({ ...toAccounts, token: text }) })
  let taken = 0
  let full: Answer | undefined
  while (full === undefined && taken < 90) {
    const answer = await read(client, token)
    if (answer.status === 200) taken += 1
    else full = answer
  }
  t.equal(taken, 18, 'a fifth of the store')
  checkRefusal(t, full as Answer, [503, 'replay-store-unavailable'])
  t.equal(full?.headers.get('retry-after'), '5')
  t.equal(full?.challenge, null)
  const other = new ProofMaker(clock)
  t.equal((await read(other, tokens.read(other.binding))).status, 200)
  t.equal((await small.call('GET', '/accounts', { token: tokens.read() })).status, 200)
  clock.advance(161_000)
  const later = tokens.read(client.binding)
  t.equal((await read(client, later)).status, 200, 'and goes on when they expire')
})

t.test('9449-6.1-1 (RFC 9449 §6.1): a cnf that is not known in full is an invalid token', async (t) => {
  const { jkt } = client.binding.cnf
  for (const cnf of [
    { jkt, kid: 'x' },
    { jkt: [jkt] },
    { jkt: `${jkt}=` },
    { jkt: jkt.slice(1) },
    { jwk: client.jwk },
    {},
    null,
    [jkt],
  ]) {
    const request = { ...toAccounts, token: tokens.read({ cnf }) }
    checkRefusal(t, await withProof(client.prove(request), request), [401, 'invalid-token'], JSON.stringify(cnf))
  }
})

async function startWith(t: Test, environment: Record<string, string>): Promise<TestApi> {
  return startTestApi(t, { issuer, clock, environment })
}

t.test('DPOP=require: RFC 9449 §7.1: only the DPoP line, with an error if a token was presented', async (t) => {
  const strict = await startWith(t, { DPOP: 'require' })
  const none = await strict.call('GET', '/accounts')
  checkRefusal(t, none, [401, 'missing-token'])
  t.strictSame(none.challenges, [`DPoP scope="read:accounts", algs="${algorithms}", ${metadata}`])
  checkDpopOnly(t, await strict.call('GET', '/accounts', { token: tokens.read() }), 'dpop-required')
  checkDpopOnly(t, await strict.call('GET', '/accounts', { token: 'x' }), 'dpop-required')
  const bound = tokens.read(client.binding)
  const request = { ...toAccounts, token: bound }
  t.equal((await strict.call('GET', '/accounts', { headers: client.headers(request) })).status, 200)
  const invalid = await strict.call('GET', '/accounts', { headers: { authorization: 'DPoP x' } })
  checkDpopOnly(t, invalid, 'invalid-token')
  const { body } = await strict.call('GET', '/.well-known/oauth-protected-resource')
  t.match(body, { dpop_signing_alg_values_supported: algorithms.split(' '), dpop_bound_access_tokens_required: true })
})

t.test('DPOP=off: DPoP is a scheme that is not ours, and bound tokens are refused', async (t) => {
  const off = await startWith(t, { DPOP: 'off' })
  const bound = tokens.read(client.binding)
  const answer = await off.call('GET', '/accounts', { headers: client.headers({ ...toAccounts, token: bound }) })
  checkRefusal(t, answer, [401, 'missing-token'])
  t.strictSame(answer.challenges, [bearerLine])
  const asBearer = await off.call('GET', '/accounts', { token: bound })
  checkRefusal(t, asBearer, [401, 'token-binding-not-proven'])
  t.equal(asBearer.challenges.length, 1)
  const { body } = await off.call('GET', '/.well-known/oauth-protected-resource')
  t.notOk('dpop_signing_alg_values_supported' in body || 'dpop_bound_access_tokens_required' in body)
})

t.test('RFC 9728 §2: the metadata says with what proofs may be signed', async (t) => {
  const { body } = await call('GET', '/.well-known/oauth-protected-resource')
  t.strictSame(body['dpop_signing_alg_values_supported'], algorithms.split(' '))
  t.notOk('dpop_bound_access_tokens_required' in body)
})
