import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from 'stepgate'
import type { Cookies } from './cookies.js'
import type { SignInChecks } from './openid-provider.js'

/** A person who was sent to the authorization server and is not back yet. */
export interface PendingSignIn {
  readonly kind: 'sign-in' | 'step-up'
  readonly checks: SignInChecks
  /** Where the person wanted to go: a path of this app, checked already. */
  readonly returnPath: string
  /** Who was signed in when it began. */
  readonly person: string | undefined
}

type Sealed = PendingSignIn & { readonly beganMs: number }

/** As long as the authorization server keeps its pages open. */
export const pendingSeconds = 600
/** Sign-ins that one browser may have open, in a tab each. More would make the Cookie header too long for the server to take. */
const maxPending = 5

/**
 * Sign-ins under way. Each is in a cookie of the browser that began it, sealed with a key that dies with the process: nobody else's
 * browser can finish it (RFC 9700 §4.7), what is in it cannot be read or changed, and however many begin, the server stores
 * nothing that could fill up. A cookie that was copied before it was taken is worth no second sign-in, since a code works once.
 */
export class PendingSignIns {
  readonly #clock: Clock
  readonly #cookies: Cookies
  readonly #key = randomBytes(32)

  constructor({ clock, cookies }: { clock: Clock; cookies: Cookies }) {
    this.#clock = clock
    this.#cookies = cookies
  }

  /** Gives a sign-in to the browser, in place of its oldest one when it has many. */
  add(request: FastifyRequest, reply: FastifyReply, pending: PendingSignIn): void {
    const { state } = pending.checks
    const before = [...this.#cookies.readSignIns(request)]
      .map(([name, sealed]) => ({ name, beganMs: this.#open(name, sealed)?.beganMs ?? 0 }))
      .sort((one, other) => other.beganMs - one.beganMs)
    for (const { name } of before.slice(maxPending - 1)) this.#cookies.clearSignIn(reply, name)
    this.#cookies.writeSignIn(reply, state, this.#seal(state, { ...pending, beganMs: this.#clock.nowMs() }))
  }

  /** Takes back the sign-in of this `state`, once. Undefined where this browser did not begin it, or too long ago. */
  take(request: FastifyRequest, reply: FastifyReply, state: unknown): PendingSignIn | undefined {
    if (typeof state !== 'string') return undefined
    const sealed = this.#cookies.readSignIns(request).get(state)
    if (sealed === undefined) return undefined
    this.#cookies.clearSignIn(reply, state)
    const pending = this.#open(state, sealed)
    return pending && this.#clock.nowMs() - pending.beganMs < pendingSeconds * 1000 ? pending : undefined
  }

  /** Takes back all that this browser began. */
  clear(request: FastifyRequest, reply: FastifyReply): void {
    for (const state of this.#cookies.readSignIns(request).keys()) this.#cookies.clearSignIn(reply, state)
  }

  #seal(state: string, content: Sealed): string {
    const iv = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv).setAAD(Buffer.from(state))
    const text = Buffer.concat([cipher.update(JSON.stringify(content)), cipher.final()])
    return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url')
  }

  #open(state: string, sealed: string): Sealed | undefined {
    const bytes = Buffer.from(sealed, 'base64url')
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12), { authTagLength: 16 })
      decipher.setAAD(Buffer.from(state)).setAuthTag(bytes.subarray(12, 28))
      return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString())
    } catch {
      // Made by nobody here, or by the process before this one.
      return undefined
    }
  }
}
