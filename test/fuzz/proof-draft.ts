import { createHash, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import type { ProofMaker, ProofRequest } from '../helpers/dpop.js'
import { publicUrl } from '../helpers/test-api.js'
import { memberEdits } from './json-text.js'
import { type JwsDraft, jwsChange, makeJws, untouched } from './jws-draft.js'

export const proofAlgorithms = ['ES256', 'EdDSA', 'Ed25519', 'PS256'] as const
export type ProofAlgorithm = (typeof proofAlgorithms)[number]

/** A valid proof for a transfer, what happens to it, and how it is sent. */
export interface ProofDraft extends JwsDraft {
  algorithm: ProofAlgorithm
  /** `thief` signs with a key of its own and sends that; `forger` signs so, and sends the client's. */
  signer: 'client' | 'thief' | 'forger'
  fields: 'one' | 'none' | 'twice' | 'joined' | 'and another' | 'another name' | 'upper case'
}

/** Who may sign. */
export interface Signers {
  client: ProofMaker
  thief: ProofMaker
}

export interface DraftContext {
  signers: Readonly<Record<ProofAlgorithm, Signers>>
  nowSeconds: number
}

/** Proofs with up to two changes; with none they are valid. */
export function proofDrafts({ signers, nowSeconds }: DraftContext): fc.Arbitrary<ProofDraft> {
  const jwks = proofAlgorithms.flatMap((algorithm) => {
    const { client, thief } = signers[algorithm]
    const { d } = client.key.privateKey.export({ format: 'jwk' })
    return [
      ...[client.jwk, thief.jwk, { ...client.jwk, d }, { ...client.jwk, kid: 'x', x5u: 'https://evil.example' }],
      ...[
        { ...client.jwk, use: 'enc' },
        { ...client.jwk, use: 'sig' },
        { ...client.jwk, k: 'AAAA' },
      ],
      ...[
        { ...client.jwk, key_ops: ['sign'] },
        { ...client.jwk, key_ops: ['verify'] },
      ],
      ...[
        { ...client.jwk, alg: client.key.alg },
        { ...client.jwk, alg: 'ES384' },
        { ...client.jwk, kty: 'oct' },
      ],
    ]
  })
  const headerEdits = memberEdits({
    typ: ['dpop+jwt', 'DPoP+jwt', 'application/dpop+jwt', 'dpop+jwt ', 'JWT', 'at+jwt', ['dpop+jwt'], null],
    alg: [...proofAlgorithms, 'none', 'HS256', 'RS256', 'ES384', 'es256', ['ES256'], null],
    jwk: [...jwks, {}, [], 'x', null],
    crit: [[], ['b64'], ['exp'], null],
    b64: [true, false],
    kid: ['x'],
    jku: ['https://evil.example'],
  })
  const around = [-3600, -61, -60.5, -60, -59.5, -1, 0, 0.5, 1, 59.5, 60, 60.5, 61].map((offset) => nowSeconds + offset)
  const times = [...around, nowSeconds * 1000, String(nowSeconds), 0, -1, null]
  const address = `${publicUrl}/transfers`
  const claimEdits = memberEdits({
    htm: ['GET', 'post', 'POST ', 'PUT', ['POST'], null],
    htu: [
      ...[`${address}?`, `${address}?x=1`, `${address}#x`, `${address}?\n#`, address.toUpperCase(), `${address}/`],
      ...[`${publicUrl}:443/transfers`, `${publicUrl}:/transfers`, `${publicUrl}:8443/transfers`, `${address}%20`],
      ...['HTTPS://API.example.com/transfers', 'https://api%2eexample%2Ecom/transfers', `${publicUrl}/%74ransfers`],
      ...[`${publicUrl}/./transfers`, `${publicUrl}/x/%2e./transfers`, `${publicUrl}//transfers`, `${publicUrl}/..`],
      ...[`${publicUrl}/%2Ftransfers`, `${publicUrl}\\transfers`, `${address}%`, `${address}%2`, ` ${address}`],
      ...[
        'http://api.example.com/transfers',
        'https://api.example.com.evil.example/transfers',
        '/transfers',
        publicUrl,
      ],
      ...['https:/api.example.com/transfers', 'https:api.example.com/transfers', '//api.example.com/transfers'],
      ...[
        'https://x@api.example.com/transfers',
        'https://@api.example.com/transfers',
        'https://:@api.example.com/transfers',
      ],
      ...['https://api。example.com/transfers', `${publicUrl}/tran\tsfers`, `${address}\n`, [address], null],
    ],
    iat: times,
    exp: times,
    nbf: times,
    jti: ['x', 'y', '', ' ', 'x'.repeat(256), 'x'.repeat(257), 'é'.repeat(256), 'a\0', '\ud800', ['x'], 1, null],
    ath: ['', 'x', createHash('sha256').update('x').digest('base64url'), ['x'], null],
    nonce: ['', 'x', 'A'.repeat(43), ['x'], 1, null],
  })
  const signer = fc.record({ signer: fc.constantFrom('thief' as const, 'forger' as const) })
  const fields = fc.record({
    fields: fc.constantFrom<ProofDraft['fields']>(
      'none',
      'twice',
      'joined',
      'and another',
      'another name',
      'upper case',
    ),
  })
  const change = fc.oneof(
    { weight: 16, arbitrary: jwsChange(headerEdits, claimEdits) },
    { weight: 1, arbitrary: signer },
    { weight: 1, arbitrary: fields },
  )
  return fc
    .tuple(fc.constantFrom(...proofAlgorithms), fc.array(change, { maxLength: 2 }))
    .map(
      ([algorithm, changes]): ProofDraft =>
        Object.assign({ algorithm, signer: 'client' as const, fields: 'one' as const, ...untouched() }, ...changes),
    )
}

/** Makes the proof. */
export function makeProof(draft: ProofDraft, { client, thief }: Signers, claims: object): string {
  const { key, jwk } = draft.signer === 'thief' ? thief : client
  const header = { typ: 'dpop+jwt', alg: draft.algorithm, jwk }
  return makeJws(draft, { header, claims, key, signer: draft.signer === 'client' ? client.key : thief.key })
}

/** The claims of a good proof; written out here, so that a fault of the helper is none of the property. */
export function proofClaims({ method, path, token }: ProofRequest, nowSeconds: number, nonce: string): object {
  const ath = createHash('sha256').update(token).digest('base64url')
  return { jti: randomUUID(), htm: method, htu: `${publicUrl}${path}`, iat: nowSeconds, ath, nonce }
}

/** The field lines that a draft sends its proof in. */
export function proofFields({ fields }: ProofDraft, proof: string): string[] {
  switch (fields) {
    case 'one':
      return [`DPoP: ${proof}`]
    case 'none':
      return []
    case 'twice':
      return [`DPoP: ${proof}`, `dpop: ${proof}`]
    case 'joined':
      return [`DPoP: ${proof}, ${proof}`]
    case 'and another':
      return [`DPoP: ${proof}`, 'DPoP: x']
    case 'another name':
      return [`DPoP-Proof: ${proof}`]
    case 'upper case':
      return [`DPOP: ${proof}`]
  }
}
