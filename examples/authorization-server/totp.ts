import { createHmac, randomBytes } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import QRCode from 'qrcode'
import { createAttemptLimit } from './attempt-limit.js'
import type { Clock } from './clock.js'
import { inGroupsOfFour } from './groups-of-four.js'
import { html, type Markup, trusted } from './html.js'
import type { SecondFactor } from './second-factor.js'

/** What the page says of a code that was right, once. A client that types codes can wait for the next one. */
export const codeAlreadyUsed = 'That code was already used. Wait for the next one.'

const secretBytes = 20
// One step either way allows for a clock that is off and for the time it takes to type (RFC 6238 §5.2).
const windowSteps = 1

/**
 * Time-based one-time passwords (RFC 6238: SHA-1, 6 digits, 30 s, which is what authenticator apps know). A code works
 * once, and so does no older one (§5.2). `secrets` holds base32 by user name; a user without one is shown a fresh secret
 * as QR code and as text, and is enrolled by the first right code. That trusts whoever knows the password at that
 * moment, as every enrolment at first use does. Secrets and used codes live in memory only.
 */
export function createTotpFactor(options: {
  secrets: ReadonlyMap<string, string>
  serviceName: string
  clock: Clock
}): SecondFactor {
  const { serviceName, clock } = options
  const secrets = new Map([...options.secrets].map(([username, base32]) => [username, Secret.fromBase32(base32)]))
  const lastCounters = new Map<string, number>()
  const attempts = createAttemptLimit(clock)
  const enrolmentKey = randomBytes(32)

  // Derived, so that an open enrolment page needs no memory, and from the interaction, so that two pages open for one
  // user differ: a stranger with the password cannot get the user to confirm a secret that the stranger has seen.
  function enrolmentSecret(username: string, interactionId: string): Secret {
    const bytes = createHmac('sha256', enrolmentKey).update(`${interactionId}\n${username}`).digest()
    return new Secret({ buffer: Uint8Array.from(bytes.subarray(0, secretBytes)).buffer })
  }

  return async ({ username, interactionId, answer }) => {
    const enrolled = secrets.get(username)
    const secret = enrolled ?? enrolmentSecret(username, interactionId)
    const totp = new TOTP({ issuer: serviceName, label: username, secret })
    const ask = async (error?: string) => ({
      outcome: 'ask' as const,
      label: 'Six-digit code',
      hint: 'Your authenticator app shows it.',
      input: { autocomplete: 'one-time-code', inputmode: 'numeric' as const },
      ...(enrolled === undefined && { enrolment: await describeEnrolment(totp) }),
      ...(error !== undefined && { error }),
    })

    if (answer === undefined) return ask()
    const waitSeconds = attempts.begin(username)
    if (waitSeconds !== undefined) return ask(`Too many wrong codes. Try again in ${waitSeconds} seconds.`)
    const nowMs = clock.nowMs()
    const delta = totp.validate({ token: answer.replaceAll(/\s/g, ''), timestamp: nowMs, window: windowSteps })
    if (delta === null) return ask('That code is not right.')
    const counter = totp.counter({ timestamp: nowMs }) + delta
    if (counter <= (lastCounters.get(username) ?? -1)) return ask(codeAlreadyUsed)
    lastCounters.set(username, counter)
    secrets.set(username, secret)
    attempts.succeed(username)
    return { outcome: 'passed', amr: ['otp'] }
  }
}

async function describeEnrolment(totp: TOTP): Promise<Markup> {
  const qrCode = await QRCode.toString(totp.toString(), { type: 'svg', errorCorrectionLevel: 'M' })
  const groups = inGroupsOfFour(totp.secret.base32)
  return html`
    <p>Set up your second factor once: scan the picture with an authenticator app, or type the secret into it.</p>
    <div class="qr" role="img" aria-label="QR code that holds the secret below">${trusted(qrCode)}</div>
    <p>Secret: <code id="totp-secret">${groups}</code></p>`
}
