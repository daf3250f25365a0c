import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose'
import type { TestApi } from '../helpers/test-api.js'

/** A token that jose accepts. */
interface AcceptedToken {
  text: string
  header: ProtectedHeaderParameters
  claims: JWTPayload
}

const isText = (value: unknown, maxLength: number): boolean =>
  typeof value === 'string' && value.length > 0 && value.length <= maxLength && !/[\0\p{Surrogate}\uFFFD]/u.test(value)
const scopePattern = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/

/** What jose lets pass and this server does not, on purpose. */
const stricter: Readonly<Record<string, (token: AcceptedToken, nowMs: number) => boolean>> = {
  'RFC 4648 §3.5: base64url that is not canonical, so that a token has one spelling': ({ text }) =>
    text.split('.').some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part),
  'a token of more than 8 KiB': ({ text }) => text.length > 8192,
  'no kid, where jose picks the only key that fits': ({ header }) => !isText(header.kid, 256),
  'RFC 7515 §4.1.11: any crit, where jose knows b64': ({ header }) => Object.hasOwn(header, 'crit'),
  'iss, sub, client_id and jti of another type, empty, too long or not storable': ({ claims }) =>
    [claims.sub, claims['client_id']].some((value) => !isText(value, 255)) || !isText(claims.jti, 256),
  'RFC 7519 §4.1.3: an aud with members that are no strings': ({ claims }) =>
    [claims.aud].flat().some((member) => typeof member !== 'string'),
  'times that are no integers, and an iat in the future': ({ claims }, nowMs) =>
    [claims.exp, claims.iat, claims.nbf ?? 0].some((time) => !Number.isSafeInteger(time)) ||
    (claims.iat as number) * 1000 > nowMs + leewaySeconds * 1000,
  'RFC 6749 §3.3: a scope that is no list of scopes': ({ claims }) =>
    claims['scope'] !== undefined && !(typeof claims['scope'] === 'string' && scopePattern.test(claims['scope'])),
  'RFC 7800: cnf': ({ claims }) => Object.hasOwn(claims, 'cnf'),
  'RFC 9396 §2: authorization_details that are no array of objects with a type': ({ claims }) => {
    const { authorization_details: details } = claims
    const isDetail = (value: unknown) => typeof (value as { type?: unknown } | null)?.type === 'string'
    return details !== undefined && !(Array.isArray(details) && details.every(isDetail))
  },
}
const leewaySeconds = 5

/** What the server must make of a token: whether it is valid, and why not where jose thinks otherwise. */
export interface Verdict {
  valid: boolean
  reason: string
}

/** Judges tokens by jose, under the expectations that the server has, and by the list of intended differences. */
export function judgeBy({ issuer, config, clock }: TestApi): (token: string) => Promise<Verdict> {
  const keys = createLocalJWKSet({ keys: issuer.published } as JSONWebKeySet)
  return async (text) => {
    const nowMs = clock.nowMs()
    const expected = {
      issuer: issuer.url,
      audience: config.AUDIENCE,
      algorithms: [...config.ALGORITHMS],
      typ: 'at+jwt',
      clockTolerance: leewaySeconds,
      currentDate: new Date(nowMs),
      requiredClaims: ['sub', 'client_id', 'jti', 'exp', 'iat'],
    }
    const verified = await jwtVerify(text, keys, expected).catch((error: unknown) => String(error))
    if (typeof verified === 'string') return { valid: false, reason: verified }
    const accepted = { text, header: verified.protectedHeader, claims: verified.payload }
    const difference = Object.keys(stricter).find((name) => stricter[name]?.(accepted, nowMs))
    return { valid: difference === undefined, reason: difference ?? 'accepted' }
  }
}
