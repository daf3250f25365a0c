import { deepStrictEqual } from 'node:assert'
import { isDeepStrictEqual } from 'node:util'
import { currencyDigits } from '#src/core/currencies.js'
import { parseAmount } from '#src/core/money.js'
import { problemDocumentSchema } from '#src/core/problem-document.js'
import { isProblemName } from '#src/core/problems.js'
import { parseChallenge } from '../helpers/challenges.js'
import { exchangeOne, type RawAnswer, rawRequest } from '../helpers/raw-http.js'
import { balances, publicUrl, type TestApi } from '../helpers/test-api.js'

/** A request, its bytes one a character. */
export interface WatchedRequest {
  method: string
  target: string
  /** Field lines. */
  fields?: readonly string[]
  body?: string
  /** What must not come back, besides the marker. */
  secrets?: readonly string[]
}

/** What the properties expect of the API's configuration, besides the defaults. */
export const fuzzEnvironment = { DPOP_NONCE: 'on' }

/** Stands in every text that a property makes up, so that an echo is seen wherever it comes from. */
export const marker = 'vJ0zQmark'

export const jsonType = 'Content-Type: application/json'
export const bearer = (token: string): string => `Authorization: Bearer ${token}`

/** Shorter parts of a token may stand in an answer by chance. */
const shortestSecret = 16
const challengeMembers = ['error', 'error_description', 'scope', 'acr_values', 'max_age', 'resource_metadata']

/** The parts of a token, as far as they are long enough to be told from chance. */
export function secretsOf(token: string): string[] {
  return token.split(/[^A-Za-z0-9_-]/).filter((part) => part.length >= shortestSecret)
}

/**
 * A running API that checks after every request what must hold for every request: never a 5xx, refusals in the one form, nothing
 * of the caller's in them, and money moved by a 201 and by nothing else. Throws when something does not hold.
 */
export class WatchedApi {
  readonly api: TestApi
  /** Ids of the transfers that were answered with 201. */
  readonly acknowledged: string[] = []
  #balances: Record<string, bigint> | undefined
  #previous: Promise<unknown> = Promise.resolve()

  constructor(api: TestApi) {
    this.api = api
  }

  /** One request at a time: a run that is out of time goes on behind the next property's runs. */
  send(request: WatchedRequest): Promise<RawAnswer> {
    const answer = this.#previous.then(() => this.#exchange(request))
    this.#previous = answer.catch(() => undefined)
    return answer
  }

  async #exchange(request: WatchedRequest): Promise<RawAnswer> {
    const { method, target, fields = [], body = '', secrets = [] } = request
    this.#balances ??= await balances(this.api)
    const answer = await exchangeOne(this.api.port, rawRequest(method, target, fields, body))
    if (answer.status >= 500) throw new Error(`${answer.status}: ${answer.text}`)
    if (answer.status >= 400) checkForm(answer, method)
    checkEcho(answer, secrets)
    const replayed = answer.headers.get('idempotency-replayed') === 'true'
    if (method === 'POST' && answer.status === 201 && !replayed) this.#book(answer.body)
    deepStrictEqual(await balances(this.api), this.#balances, 'money moves by a 201 and by nothing else')
    return answer
  }

  #book(transfer: Record<string, unknown>): void {
    const { transferId, debtorAccount, creditorAccount, instructedAmount } = transfer as {
      transferId: string
      debtorAccount: { iban: string }
      creditorAccount: { iban: string }
      instructedAmount: { currency: string; amount: string }
    }
    const digits = currencyDigits(instructedAmount.currency) as number
    const minorUnits = parseAmount(instructedAmount.amount, digits) as bigint
    const books = this.#balances as Record<string, bigint>
    books[debtorAccount.iban] = (books[debtorAccount.iban] as bigint) - minorUnits
    books[creditorAccount.iban] = (books[creditorAccount.iban] as bigint) + minorUnits
    this.acknowledged.push(transferId)
  }
}

/** The form of a refusal (RFC 9457), and that the challenge and the body say the same. */
function checkForm({ status, headers, fields, body }: RawAnswer, method: string): void {
  deepStrictEqual(headers.get('content-type'), 'application/problem+json')
  deepStrictEqual(headers.get('cache-control'), 'no-store')
  const challenges = fields.filter(([name]) => name === 'www-authenticate').map(([, value]) => parseChallenge(value))
  if (status === 401 && challenges.length === 0) throw new Error('a 401 without a challenge')
  if (method === 'HEAD') return
  const document = problemDocumentSchema.parse(body)
  deepStrictEqual(document.status, status)
  const [origin, name] = document.type.split('/problems/') as [string, string]
  deepStrictEqual([origin, isProblemName(name)], [publicUrl, true], document.type)
  const said = pick(Object.entries(body).map(([member, value]) => [member, String(value)]))
  const asked = challenges.map(({ parameters }) => pick(parameters))
  const agreed = asked.length === 0 ? said.length === 0 : asked.some((one) => isDeepStrictEqual(one, said))
  if (!agreed) throw new Error(`the challenge and the body differ: ${JSON.stringify({ asked, said })}`)
}

/** Those of the members that a challenge and a body have in common, sorted. */
function pick(members: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  return members.filter(([name]) => challengeMembers.includes(name)).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** A receipt repeats the payment, and a refused payment is described for the authorization request; nothing else comes back. */
function checkEcho({ status, fields, text, body }: RawAnswer, secrets: readonly string[]): void {
  const { authorization_details: _described, ...rest } = body
  const told = status === 201 ? '' : Object.keys(body).length === 0 ? text : JSON.stringify(rest)
  const answer = `${fields.flat().join('\n')}\n${told}`
  if (answer.includes(marker)) throw new Error(`an echo of what the caller sent: ${answer}`)
  const secret = secrets.find((part) => `${answer}${text}`.includes(part))
  if (secret !== undefined) throw new Error(`an echo of a token: ${secret}`)
}
