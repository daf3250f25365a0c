import type { Test } from 'tap'
import { problemDocumentSchema } from '#src/core/problem-document.js'
import type { ProblemName } from '#src/core/problems.js'
import { publicUrl, type TestApi, transferBody } from './test-api.js'

/** What the checks need of an answer, read by fetch or from a socket. */
export interface RefusalAnswer {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

/** Status and problem that a refusal must have. */
export type Expected = readonly [status: number, problem: ProblemName]

/** Traces of stacks, libraries, databases and tokens. */
const inside = /node_modules|\.[jt]s:\d|\bat .+:\d+:\d+|FST_|FAST_JWT|SQLITE|zod|fastify|ENOENT|Error:|eyJ/i

/** Checks what every refusal has: the form of RFC 9457, the problem named, and nothing from inside the server. */
export function checkRefusal(
  t: Test,
  answer: RefusalAnswer,
  [status, problem]: Expected,
  label = problem as string,
): void {
  const { type, status: bodyStatus } = answer.body
  t.strictSame(
    {
      status: answer.status,
      bodyStatus,
      type,
      contentType: answer.headers.get('content-type'),
      cacheControl: answer.headers.get('cache-control'),
      conforms: problemDocumentSchema.safeParse(answer.body).success,
    },
    {
      status,
      bodyStatus: status,
      type: `${publicUrl}/problems/${problem}`,
      contentType: 'application/problem+json',
      cacheControl: 'no-store',
      conforms: true,
    },
    label,
  )
  t.notMatch(JSON.stringify(answer.body), inside, `${label}: nothing from inside`)
}

/** Presents a token on a read and on a transfer and checks that both are refused, as invalid unless said otherwise. */
export async function refuseToken(
  t: Test,
  { call }: Pick<TestApi, 'call'>,
  token: string,
  label: string,
  { read = [401, 'invalid-token'], transfer = [401, 'invalid-token'] }: { read?: Expected; transfer?: Expected } = {},
): Promise<void> {
  checkRefusal(t, await call('GET', '/accounts', { token }), read, `${label}: read`)
  checkRefusal(t, await call('POST', '/transfers', { token, json: transferBody() }), transfer, `${label}: transfer`)
}
