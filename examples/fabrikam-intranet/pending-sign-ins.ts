import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { EncryptJWT, errors, jwtDecrypt } from 'jose'
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
  async add(request: FastifyRequest, reply: FastifyReply, pending: PendingSignIn): Promise<void> {
    const { state } = pending.checks
    const before = await Promise.all(
      [...this.#cookies.readSignIns(request)].map(async ([name, sealed]) => {
        const opened = await this.#open(name, sealed)
        return { name, beganMs: opened?.beganMs ?? 0 }
      }),
    )
    const oldest = before.sort((one, other) => other.beganMs - one.beganMs).slice(maxPending - 1)
    for (const { name } of oldest) this.#cookies.clearSignIn(reply, name)
    const sealed = await this.#seal(state, { ...pending, beganMs: this.#clock.nowMs() })
    this.#cookies.writeSignIn(reply, state, sealed)
  }

  /** Takes back the sign-in of this `state`, once. Undefined where this browser did not begin it, or too long ago. */
  async take(request: FastifyRequest, reply: FastifyReply, state: unknown): Promise<PendingSignIn | undefined> {
    if (typeof state !== 'string') return undefined
    const sealed = this.#cookies.readSignIns(request).get(state)
    if (sealed === undefined) return undefined
    this.#cookies.clearSignIn(reply, state)
    const pending = await this.#open(state, sealed)
    return pending && this.#clock.nowMs() - pending.beganMs < pendingSeconds * 1000 ? pending : undefined
  }

  /** Takes back all that this browser began. */
  clear(request: FastifyRequest, reply: FastifyReply): void {
    for (const state of this.#cookies.readSignIns(request).keys()) this.#cookies.clearSignIn(reply, state)
  }

  #seal(state: string, content: Sealed): Promise<string> {
    const token = new EncryptJWT({ ...content }).setJti(state)
    return token.setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(this.#key)
  }

  async #open(state: string, sealed: string): Promise<Sealed | undefined> {
    try {
      const { payload } = await jwtDecrypt<Sealed>(sealed, this.#key, {
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256GCM'],
      })
      return payload.jti === state ? payload : undefined
    } catch (error) {
      // Made by nobody here, or by the process before this one.
      if (error instanceof errors.JOSEError) return undefined
      throw error
    }
  }
}
