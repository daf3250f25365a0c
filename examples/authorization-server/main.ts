import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { demoClient, demoUsers } from './demo-users.js'
import { isLoopback, isPublicAddress, startAuthorizationServer } from './server.js'
import type { UserSeed } from './users.js'

/**
 * Starts the authorization server from the command line. A fault in a variable stops the start: one line each, all at
 * once, exit 1. Ctrl-C ends it.
 */

const usersSchema: z.ZodType<UserSeed[]> = z
  .array(
    z.strictObject({
      username: z.string().min(1).max(255),
      password: z.string().min(1),
      totpSecret: z
        .string()
        .regex(/^[A-Z2-7]{16,}$/, 'must be base32')
        .exactOptional(),
    }),
  )
  .min(1)

const usersFile = z.string().transform((path, context) => {
  try {
    const result = usersSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')))
    if (result.success) return result.data
    for (const { path: place, message } of result.error.issues) context.addIssue(`${place.join('.')}: ${message}`)
  } catch (error) {
    const reason = error instanceof SyntaxError ? 'is not JSON' : 'cannot be read'
    context.addIssue(`${path} ${reason}`)
  }
  return z.NEVER
})

const environmentSchema = z.object({
  HOST: z.string().refine(isLoopback, 'must be a loopback address such as 127.0.0.1').default('127.0.0.1'),
  PORT: z
    .string()
    .regex(/^\d{1,5}$/, 'must be a port number')
    .transform(Number)
    .refine((port) => port <= 65_535, 'must be a port number')
    .default(4000),
  ISSUER: z.string().refine(isPublicAddress, 'must be an origin with https, or http on loopback').exactOptional(),
  RESOURCE: z.url('must be the address of the API').default('http://127.0.0.1:3000'),
  REDIRECT_URIS: z
    .string()
    .transform((uris) => uris.split(/ +/).filter((uri) => uri !== ''))
    .pipe(z.array(z.url('must be a space-separated list of addresses')).min(1, 'must name an address'))
    .default([...demoClient.redirect_uris]),
  USERS_FILE: usersFile.default([...demoUsers]),
})

const environment = environmentSchema.safeParse(process.env)
if (!environment.success) {
  for (const { path, message } of environment.error.issues) fail(`${String(path[0])}: ${message}`)
  process.exit(1)
}

const { HOST: host, PORT: port, ISSUER: issuer, RESOURCE: resource } = environment.data
const { REDIRECT_URIS: redirectUris, USERS_FILE: users } = environment.data
try {
  const clients = [{ ...demoClient, redirect_uris: redirectUris }]
  const server = await startAuthorizationServer({
    host,
    port,
    resource,
    clients,
    users,
    ...(issuer !== undefined && { issuer }),
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close())
  process.stdout.write(
    `authorization-server: ${server.issuer}, client ${demoClient.client_id}, tokens for ${resource}\n`,
  )
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException
  fail(code === 'EADDRINUSE' ? `PORT: ${port} is taken` : message)
  process.exit(1)
}

function fail(line: string): void {
  process.stderr.write(`authorization-server: ${line}\n`)
}
