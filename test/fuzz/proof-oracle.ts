import { createHash } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose'
import { proofAlgorithms } from './proof-draft.js'

/** A proof whose signature jose has verified with its own key. */
interface SignedProof {
  text: string
  header: ProtectedHeaderParameters
  claims: JWTPayload
  keyThumbprint: string
}

/** What a proof is held against. */
export interface ProofContext {
  method: string
  /** In its normal form. */
  address: string
  token: string
  /** The key that the token is bound to. */
  keyThumbprint: string
  nonce: string
  nowSeconds: number
}

export interface ProofVerdict {
  valid: boolean
  reason: string
  /** Key and jti of a valid proof: two proofs with the same are one. */
  identity?: string
}

const lifetimeSeconds = 60

/** RFC 9449 §4.3 beyond the signature, word for word; and at the end what jose lets pass and this server does not. */
const refusals: Readonly<Record<string, (proof: SignedProof, context: ProofContext) => boolean>> = {
  '(8) htm': ({ claims }, { method }) => claims['htm'] !== method,
  '(9) htu': ({ claims }, { address }) => !isAddress(claims['htu'], address),
  '(10) nonce': ({ claims }, { nonce }) => claims['nonce'] !== nonce,
  '(11) iat': ({ claims: { iat } }, { nowSeconds }) => Math.abs(Number(iat) - nowSeconds) > lifetimeSeconds,
  '(12) ath': ({ claims }, { token }) => claims['ath'] !== createHash('sha256').update(token).digest('base64url'),
  '(12) the key that the token is bound to': (proof, { keyThumbprint }) => proof.keyThumbprint !== keyThumbprint,
  '§4.2: a jti, and of at most 256 characters': ({ claims: { jti } }) =>
    typeof jti !== 'string' || jti.length === 0 || jti.length > 256,
  'RFC 4648 §3.5: base64url that is not canonical': ({ text }) =>
    text.split('.').some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part),
  'more than 8 KiB': ({ text }) => text.length > 8192,
  'typ in another form of the media type': ({ header }) => header.typ !== 'dpop+jwt',
  'any crit, where jose knows b64': ({ header }) => Object.hasOwn(header, 'crit'),
  'a key that has members of a private or symmetric one': ({ header }) =>
    ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].some((member) => Object.hasOwn(header.jwk ?? {}, member)),
}

/** Judges the values of a request's DPoP fields by jose and by the list above. */
export async function judgeProof(values: readonly string[], context: ProofContext): Promise<ProofVerdict> {
  const [text, ...more] = values
  if (text === undefined || more.length > 0) return { valid: false, reason: '(1) not one field' }
  try {
    const { protectedHeader: header, payload: claims } = await jwtVerify(text, EmbeddedJWK, {
      algorithms: [...proofAlgorithms],
      typ: 'dpop+jwt',
      requiredClaims: ['jti', 'htm', 'htu', 'iat', 'ath'],
      currentDate: new Date(context.nowSeconds * 1000),
    })
    const keyThumbprint = await calculateJwkThumbprint(header.jwk ?? {})
    const proof = { text, header, claims, keyThumbprint }
    const reason = Object.keys(refusals).find((name) => refusals[name]?.(proof, context))
    // As bytes, so that two lone surrogates are one jti.
    const identity = `${keyThumbprint} ${Buffer.from(String(claims.jti)).toString('hex')}`
    return reason === undefined ? { valid: true, reason: 'accepted', identity } : { valid: false, reason }
  } catch (error) {
    return { valid: false, reason: String(error) }
  }
}

const unreserved = /%(?:2d|2e|5f|7e|3\d|[46][1-9a-f]|[57][0-9a])/gi

/** Whether an htu means an address, without its query and fragment, by RFC 3986 §6.2.2 and §6.2.3. WHATWG's URL mends too much. */
function isAddress(htu: unknown, address: string): boolean {
  if (typeof htu !== 'string') return false
  const [bare = ''] = htu.split(/[?#]/)
  const isSound = /^https?:\/\/[^/@]+(?:\/.*)?$/is.test(bare) && !/[^\x21-\x7e]|\\/.test(bare)
  const plain = bare.replaceAll(unreserved, (sequence) => decodeURIComponent(sequence))
  return isSound && URL.canParse(plain) && new URL(plain).href === address
}
