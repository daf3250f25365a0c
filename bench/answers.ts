import { isDeepStrictEqual } from 'node:util'
import { exchange } from './load.js'

/** What a candidate must answer, and is measured answering. */
export interface Expectation {
  status: number
  /** Whether this is the answer: its header fields, by lower-case names, and the parsed JSON body. */
  holds: (fields: ReadonlyMap<string, string>, body: unknown) => boolean
}

/** The problem `error` (RFC 6750 §3.1), with a challenge and the words in the detail. */
export function refusal(status: number, error: string, detail: string): Expectation {
  return {
    status,
    holds: (fields, body) => {
      const problem = body as { error?: string; detail?: string }
      const challenge = fields.get('www-authenticate') ?? ''
      return (
        problem.error === error && problem.detail?.includes(detail) === true && challenge.includes(`error="${error}"`)
      )
    },
  }
}

/** 200 with this JSON and nothing else. */
export function answer(expected: object): Expectation {
  return { status: 200, holds: (_fields, body) => isDeepStrictEqual(body, expected) }
}

/** 201 with a transfer that is booked. */
export const booked: Expectation = {
  status: 201,
  holds: (_fields, body) => (body as { status?: string }).status === 'booked',
}

/** Who is asked. */
export interface Asked {
  name: string
  port: number
  /** Whether it must refuse a forged token, and so with 401. */
  authenticates: boolean
  /** What the detail of that problem must contain, so that it is no other refusal. */
  forgedDetail?: string
}

/**
 * Throws unless the server answers the request as expected and, if it authenticates, refuses it with a forged signature before
 * and after: before, it cannot be refused as used; after, it must not be taken as known.
 */
export async function checkAnswers(asked: Asked, request: Buffer, expected: Expectation): Promise<void> {
  await checkForged(asked, request)
  const text = await exchange(asked.port, request)
  if (!isExpected(text, expected)) {
    throw new Error(`${asked.name} answers wrongly: expected ${expected.status}, got\n${text}`)
  }
  await checkForged(asked, request)
}

/** Whether a whole answer, as latin1, is the expected one. */
export function isExpected(text: string, expected: Expectation): boolean {
  const { status, fields, body } = parseAnswer(text)
  return status === expected.status && expected.holds(fields, body)
}

async function checkForged({ name, port, authenticates, forgedDetail }: Asked, request: Buffer): Promise<void> {
  if (!authenticates) return
  const text = await exchange(port, forge(request))
  const { status, body } = parseAnswer(text)
  const { detail = '' } = body as { detail?: string }
  if (status !== 401 || !detail.includes(forgedDetail ?? '')) throw new Error(`${name} takes a forged token:\n${text}`)
}

/** The request with another first character in the signature of its last JWT. */
function forge(request: Buffer): Buffer {
  const text = request.toString('latin1')
  const forged = text.replace(
    /(.*\.[\w-]+\.)([\w-])/s,
    (_, before, character) => before + (character === 'A' ? 'B' : 'A'),
  )
  return Buffer.from(forged, 'latin1')
}

function parseAnswer(text: string): { status: number; fields: Map<string, string>; body: unknown } {
  const headEnd = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, headEnd).split('\r\n')
  const fields = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value)
  }
  const json = Buffer.from(text.slice(headEnd + 4), 'latin1').toString()
  return { status: Number(statusLine.split(' ')[1]), fields, body: parseJson(json) }
}

/** What is no JSON is refused where it is compared. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}
