import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import { createAttemptLimit } from './attempt-limit.js'
import type { Clock } from './clock.js'

/** A user to start with. The name is the `sub` of the tokens as well. */
export interface UserSeed {
  readonly username: string
  readonly password: string
  /** Base32. Without it the user enrols at the first step-up. */
  readonly totpSecret?: string
}

/** How a sign-in ended. A wrong password and an unknown name look the same, and take equally long. */
type SignIn = { outcome: 'signed-in' } | { outcome: 'refused' } | { outcome: 'locked'; retryAfterSeconds: number }

/** The users of this server, in memory. */
export interface UserStore {
  signIn(username: string, password: string): Promise<SignIn>
  exists(username: string): boolean
}

interface PasswordHash {
  readonly salt: Buffer
  readonly key: Buffer
}

const keyBytes = 32
const saltBytes = 16

/** OWASP's scrypt setting for the least memory: 16 MiB, and a tenth of a second or two. */
export const defaultPasswordCost: ScryptOptions = { N: 2 ** 14, r: 8, p: 5 }

/** Hashes the passwords; none is kept as it is. Users cannot be added or changed later. */
export async function createUserStore(
  seeds: readonly UserSeed[],
  { clock, passwordCost }: { clock: Clock; passwordCost: ScryptOptions },
): Promise<UserStore> {
  const hash = async ({ username, password }: UserSeed): Promise<[string, PasswordHash]> => {
    const salt = randomBytes(saltBytes)
    return [username, { salt, key: await deriveKey(password, salt, passwordCost) }]
  }
  const hashes = new Map(await Promise.all(seeds.map(hash)))
  // Stands in for a name that is not known, so that such a sign-in takes as long as any. No password leads to it.
  const nobody: PasswordHash = { salt: randomBytes(saltBytes), key: randomBytes(keyBytes) }
  const attempts = createAttemptLimit(clock)

  return {
    async signIn(username, password) {
      const retryAfterSeconds = attempts.begin(username)
      if (retryAfterSeconds !== undefined) return { outcome: 'locked', retryAfterSeconds }
      const expected = hashes.get(username) ?? nobody
      const key = await deriveKey(password, expected.salt, passwordCost)
      if (!timingSafeEqual(key, expected.key)) return { outcome: 'refused' }
      attempts.succeed(username)
      return { outcome: 'signed-in' }
    },
    exists: (username) => hashes.has(username),
  }
}

function deriveKey(password: string, salt: Buffer, cost: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // The same letters can be typed as different code points; NFKC makes one of them (NIST SP 800-63B §5.1.1.2).
    scrypt(password.normalize('NFKC'), salt, keyBytes, cost, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}
