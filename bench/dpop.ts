import { createHash, randomUUID } from 'node:crypto'
import { answer } from './answers.js'
import { bareQuery, bareStatic, type Candidate, stepgate } from './candidates.js'
import { type BenchCase, freshCase } from './load-case.js'
import { encode, generateKeys, signCompact } from './mint.js'
import { audience, readAccounts, type World } from './world.js'

/** What a client of DPoP holds: a key, and an access token that is bound to it. */
interface Client {
  key: ReturnType<typeof generateKeys>
  /** The encoded header of its proofs. */
  header: string
  token: string
}

/** The store of proofs gives each key a share; so many keys have enough for every round. */
const keys = Array.from({ length: 16 }, () => generateKeys('ES256'))
const clientsOf = new WeakMap<World, Promise<Client[]>>()

/** GET /accounts with few tokens and an ES256 proof for each request (RFC 9449), beside one verification of that proof. */
export function dpopCase(): BenchCase {
  const verifying = (candidate: Candidate, name: string): Candidate => ({
    ...candidate,
    name,
    authenticates: true,
    environment: (world) => ({
      ...candidate.environment?.(world),
      VERIFY_KEYS: JSON.stringify(keys.map(({ publicKey }) => publicKey.export({ format: 'pem', type: 'spki' }))),
      VERIFY_FIELD: 'dpop',
    }),
  })
  const staticVerify = verifying(bareStatic, 'bare Fastify, static answer, one crypto.verify')
  const queryVerify = verifying(bareQuery, 'bare Fastify, same query, one crypto.verify')
  return freshCase({
    name: 'dpop',
    title: `GET /accounts with DPoP: ${keys.length} RS256 tokens, seen before, and a fresh ES256 proof for every request`,
    algorithm: 'RS256',
    entrants: ({ accounts }) => [
      { candidate: stepgate, expected: answer(accounts), baseline: queryVerify.name },
      { candidate: queryVerify, expected: answer(accounts) },
      { candidate: staticVerify, expected: answer(accounts) },
    ],
    perSecond: 8000,
    newForEach: true,
    requests: proveRequests,
    goals: [queryVerify, staticVerify].map(({ name: baseline }) => {
      return { candidate: stepgate.name, figure: 'requests/s', baseline, bound: 'least', goal: 0.8, stretch: 0.9 }
    }),
  })
}

async function proveRequests(world: World, count: number): Promise<Buffer[]> {
  const clients = clientsOf.get(world) ?? makeClients(world)
  clientsOf.set(world, clients)
  const all = await clients
  const iat = Math.floor(Date.now() / 1000)
  const requests: Buffer[] = []
  const together = 512
  for (let start = 0; start < count; start += together) {
    const proofs = Array.from({ length: Math.min(together, count - start) }, async (_, offset) => {
      const number = (start + offset) % all.length
      const { key, header, token } = all[number] as Client
      const ath = createHash('sha256').update(token).digest('base64url')
      const claims = encode({ jti: randomUUID(), htm: 'GET', htu: `${audience}/accounts`, iat, ath })
      const proof = await signCompact(`${header}.${claims}`, key.privateKey)
      return readAccounts(token, { scheme: 'DPoP', fields: `x-client: ${number}\r\nDPoP: ${proof}\r\n` })
    })
    requests.push(...(await Promise.all(proofs)))
  }
  return requests
}

function makeClients({ issuer, subject }: World): Promise<Client[]> {
  return Promise.all(
    keys.map(async (key) => {
      const { kty, crv, x, y } = key.publicKey.export({ format: 'jwk' })
      // RFC 7638 §3: the required members in the order of their names.
      const jkt = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
      const [token] = await issuer.mint(audience, [subject], 'read:accounts', { cnf: { jkt } })
      return { key, header: encode({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } }), token: token as string }
    }),
  )
}
