import { createPublicKey } from 'node:crypto'
import type { KeySource } from '#src/keys/key-source.js'
import { makeKey, signCompact } from '../helpers/test-issuer.js'

export const issuer = 'https://issuer.example'
export const audience = 'https://api.example.com'
export const leewaySeconds = 5
export const maxLifetimeSeconds = 300

export type Subject = 'alice' | 'bob'

export interface Token {
  /** Its `jti`. */
  name: string
  subject: Subject
  issuedAtMs: number
  expiresAtMs: number
  text: string
}

// Of the algorithms the one that is verified fastest.
const key = makeKey('RS256', 'simulation')
const pem = createPublicKey({ key: key.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString()

/** The issuer's key, always there: what happens without it is no matter of single use. */
export const keySource: KeySource = {
  epoch: 1,
  state: 'fresh',
  publicKey: async ({ kid }) => (kid === key.kid ? pem : undefined),
  close: () => undefined,
}

const minted = new Map<string, Token>()
const shortLifetimeSeconds = 60

/** A transfer token; the same one for the same subject, second and number. Every second one lives only a minute. */
export function mint(subject: Subject, issuedAtSeconds: number, number: number): Token {
  const name = `${subject}-${issuedAtSeconds % 1_000_000}-${number}`
  const known = minted.get(name)
  if (known !== undefined) return known
  const expiresAtSeconds = issuedAtSeconds + (number % 2 === 0 ? maxLifetimeSeconds : shortLifetimeSeconds)
  const claims = {
    iss: issuer,
    aud: audience,
    sub: subject,
    client_id: 'app',
    jti: name,
    iat: issuedAtSeconds,
    exp: expiresAtSeconds,
    scope: 'transfer:funds',
  }
  const text = signCompact({ alg: key.alg, typ: 'at+jwt', kid: key.kid }, claims, key)
  const token = { name, subject, issuedAtMs: issuedAtSeconds * 1000, expiresAtMs: expiresAtSeconds * 1000, text }
  minted.set(name, token)
  return token
}
