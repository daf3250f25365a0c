import type { Challenge } from './challenge.js'
import { httpLimits } from './http-limits.js'

/** One row of the table of refusals. */
export interface Problem {
  status: number
  title: string
  /** A fixed sentence for the body, and for `error_description` where there is a challenge with an error. */
  detail: string
  /** What the caller should do next; stands on the problem's page. */
  remedy: string
  error?: NonNullable<Challenge['error']>
  /**
   * What the challenge asks for: `none` writes no WWW-Authenticate, `bare` no scope, `scope` the route's scope,
   * `step-up` scope, acr_values and max_age.
   */
  challenge: 'none' | 'bare' | 'scope' | 'step-up'
  /** Only DPoP helps, so the challenge has no Bearer line. */
  dpopOnly?: true
  retryAfterSeconds?: number
}

const stepUpAgain =
  'Send the user to the authorization server for a fresh transfer token with the scope named in the challenge.'
const signInAgain = 'Get a new access token from the authorization server and repeat the request.'

/** Every refusal that a client can see. Titles, details and remedies are fixed strings: nothing of the caller's is echoed. */
export const problems = {
  'missing-token': {
    status: 401,
    title: 'No access token',
    detail: 'This resource needs an access token in the Authorization header',
    remedy:
      'Send the token as "Authorization: Bearer <token>", or as "Authorization: DPoP <token>" with a proof if it is bound to a key. A token in the query, the body or a cookie is not read.',
    challenge: 'scope',
  },
  'invalid-request': {
    status: 400,
    title: 'Malformed credentials',
    detail: 'The credentials must be one Authorization header of the form scheme, space, token',
    remedy:
      'The scheme is Bearer or DPoP. Send exactly one Authorization header and no access_token parameter in the query.',
    error: 'invalid_request',
    challenge: 'bare',
  },
  'invalid-token': {
    status: 401,
    title: 'Invalid access token',
    detail: 'The access token is invalid',
    remedy: signInAgain,
    error: 'invalid_token',
    challenge: 'scope',
  },
  'expired-token': {
    status: 401,
    title: 'Expired access token',
    detail: 'The access token expired',
    remedy: signInAgain,
    error: 'invalid_token',
    challenge: 'scope',
  },
  'token-binding-not-proven': {
    status: 401,
    title: 'Token binding not proven',
    detail: 'The access token is bound to a key or certificate that the request does not prove',
    remedy:
      'Send a token that is bound to a key as "Authorization: DPoP <token>" with a proof, where the challenge names that scheme. A token that is bound to a certificate works only where its certificate is seen.',
    error: 'invalid_token',
    challenge: 'scope',
  },
  'dpop-required': {
    status: 401,
    title: 'DPoP required',
    detail: 'This resource takes only access tokens that are bound to a key by DPoP',
    remedy: 'Ask the authorization server for a token with a DPoP proof, and send it as "Authorization: DPoP <token>".',
    error: 'invalid_token',
    challenge: 'scope',
    dpopOnly: true,
  },
  'dpop-key-mismatch': {
    status: 401,
    title: 'Not the key of the access token',
    detail: 'The access token is not bound to the key of the DPoP proof',
    remedy:
      'Make the proof with the key that the token was issued for. Send a token that is bound to no key as Bearer.',
    error: 'invalid_token',
    challenge: 'scope',
    dpopOnly: true,
  },
  'invalid-dpop-proof': {
    status: 401,
    title: 'Invalid DPoP proof',
    detail: 'The DPoP proof is missing, invalid, too old or was used before',
    remedy:
      'Make a new proof for each request, in one DPoP header: typ dpop+jwt, an algorithm and the public key in the header; htm, htu without query, iat, ath and a new jti of at most 256 characters in the claims (RFC 9449). Check the clock: iat may be 60 seconds off.',
    error: 'invalid_dpop_proof',
    challenge: 'scope',
    dpopOnly: true,
  },
  'use-dpop-nonce': {
    status: 401,
    title: 'DPoP nonce required',
    detail: 'The DPoP proof must contain the nonce of the DPoP-Nonce header',
    remedy: 'Repeat the request with a new proof that has the value of the DPoP-Nonce header as its nonce.',
    error: 'use_dpop_nonce',
    challenge: 'bare',
    dpopOnly: true,
  },
  'insufficient-scope': {
    status: 403,
    title: 'Insufficient scope',
    detail: 'The access token lacks the scope that this resource needs',
    remedy: 'Ask the authorization server for a token with the scope named in the challenge.',
    error: 'insufficient_scope',
    challenge: 'scope',
  },
  'step-up-required': {
    status: 403,
    title: 'Step-up authentication required',
    detail: 'Multi-factor authentication is required for transfers',
    remedy:
      'Send the user to the authorization server with the scope, acr_values and max_age of the challenge. After multi-factor authentication it grants a transfer token; repeat the request with it.',
    error: 'insufficient_scope',
    challenge: 'step-up',
  },
  'insufficient-user-authentication': {
    status: 401,
    title: 'Stronger or more recent authentication required',
    detail: 'A stronger or more recent user authentication is required',
    remedy: 'Send the user to the authorization server with the acr_values and max_age of the challenge.',
    error: 'insufficient_user_authentication',
    challenge: 'step-up',
  },
  'token-already-used': {
    status: 401,
    title: 'Access token already used',
    detail: 'The access token was already used',
    remedy: `A transfer token works once. If the answer to the first use was lost, repeat it with the same Idempotency-Key; for another transfer: ${stepUpAgain}`,
    error: 'invalid_token',
    challenge: 'step-up',
  },
  'not-single-use': {
    status: 401,
    title: 'Not a single-use access token',
    detail: 'The access token has no jti, lives too long or predates this server',
    remedy: stepUpAgain,
    error: 'invalid_token',
    challenge: 'step-up',
  },
  'transaction-not-authorized': {
    status: 403,
    title: 'Transaction not authorized',
    detail: 'The access token does not authorize this transaction',
    remedy:
      'Send the user to the authorization server with the scope, acr_values and max_age of the challenge and, where the body has them, with its authorization_details, unchanged (RFC 9396). The token was not used up.',
    error: 'insufficient_scope',
    challenge: 'step-up',
  },
  'invalid-input': {
    status: 400,
    title: 'Invalid request',
    detail: 'The request body or query is not valid',
    remedy: 'Each member of "errors" points at a field and says what is expected there. The token was not used up.',
    challenge: 'none',
  },
  'invalid-idempotency-key': {
    status: 400,
    title: 'Invalid Idempotency-Key',
    detail: 'Idempotency-Key must be one value of 1 to 255 visible ASCII characters without quote or comma',
    remedy: 'Send one key, such as a UUID, bare or in double quotes. The token was not used up.',
    challenge: 'none',
  },
  'idempotency-key-in-use': {
    status: 409,
    title: 'Request still running',
    detail: 'A request with this Idempotency-Key is still running',
    remedy: 'Repeat the request after Retry-After seconds, with the same key and token. The token was not used up.',
    challenge: 'none',
    retryAfterSeconds: 1,
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'Idempotency-Key already used',
    detail: 'The Idempotency-Key was used before with another request',
    remedy: 'Use a new key for a new transfer, or repeat the first request unchanged. The token was not used up.',
    challenge: 'none',
  },
  'not-found': {
    status: 404,
    title: 'Not found',
    detail: 'No such account or transfer',
    remedy:
      'Check the identifier. An account that is not yours looks the same as one that does not exist. On a transfer the token is used up.',
    challenge: 'none',
  },
  'insufficient-funds': {
    status: 422,
    title: 'Insufficient funds',
    detail: 'The balance of the debtor account is too low for this transfer',
    remedy: 'Transfer less. The token is used up: a new attempt needs a new one.',
    challenge: 'none',
  },
  'currency-mismatch': {
    status: 422,
    title: 'Currencies differ',
    detail: 'The amount and both accounts must have the same currency',
    remedy: 'Use the currency of the accounts. The token is used up: a new attempt needs a new one.',
    challenge: 'none',
  },
  'same-account': {
    status: 422,
    title: 'Same account',
    detail: 'Debtor and creditor account are the same',
    remedy: 'Name two different accounts. The token is used up: a new attempt needs a new one.',
    challenge: 'none',
  },
  'balance-limit': {
    status: 422,
    title: 'Balance limit',
    detail: 'The balance of the creditor account would become too large',
    remedy: 'Transfer less. The token is used up: a new attempt needs a new one.',
    challenge: 'none',
  },
  'unknown-path': {
    status: 404,
    title: 'Unknown path',
    detail: 'Nothing is served at this path',
    remedy: 'See /docs for what this API serves.',
    challenge: 'none',
  },
  'method-not-allowed': {
    status: 405,
    title: 'Method not allowed',
    detail: 'This path does not support the request method',
    remedy: 'Use one of the methods in the Allow header.',
    challenge: 'none',
  },
  'payload-too-large': {
    status: 413,
    title: 'Payload too large',
    detail: 'The request body is too large',
    remedy: `Send at most ${httpLimits.bodyBytes / 1024} KiB. The token was not used up.`,
    challenge: 'none',
  },
  'uri-too-long': {
    status: 414,
    title: 'URI too long',
    detail: 'The request address is too long',
    remedy: 'Shorten the path.',
    challenge: 'none',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'Unsupported media type',
    detail: 'The request body must be application/json without a content coding',
    remedy:
      'Send JSON with "Content-Type: application/json", not compressed and without Content-Encoding. The token was not used up.',
    challenge: 'none',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests',
    detail: 'The limit of requests a minute is reached',
    remedy: 'Wait as many seconds as Retry-After says. The token was not used up.',
    challenge: 'none',
    retryAfterSeconds: 60,
  },
  'headers-too-large': {
    status: 431,
    title: 'Header fields too large',
    detail: 'The request header fields are too large',
    remedy: `Send at most ${httpLimits.headerBytes / 1024} KiB of header fields.`,
    challenge: 'none',
  },
  'malformed-request': {
    status: 400,
    title: 'Malformed HTTP request',
    detail: 'The request is not well-formed HTTP',
    remedy: 'Check the request line, the address and the header fields.',
    challenge: 'none',
  },
  'request-timeout': {
    status: 408,
    title: 'Request timeout',
    detail: 'The request did not arrive in time',
    remedy: `Send the whole request within ${httpLimits.requestTimeoutMs / 1000} seconds.`,
    challenge: 'none',
  },
  'keys-unavailable': {
    status: 503,
    title: 'Signing keys unavailable',
    detail: 'The keys of the authorization server cannot be reached',
    remedy: 'Repeat the request after Retry-After seconds. The token was not used up.',
    challenge: 'none',
    retryAfterSeconds: 5,
  },
  'ledger-unavailable': {
    status: 503,
    title: 'Ledger unavailable',
    detail: 'The ledger cannot be reached or is busy',
    remedy:
      'Repeat the request after Retry-After seconds, with the same token. Nothing was booked and the token was not used up.',
    challenge: 'none',
    retryAfterSeconds: 1,
  },
  'transfer-outcome-unknown': {
    status: 503,
    title: 'Outcome of the transfer unknown',
    detail: 'The transfer may or may not have been booked: repeat it with the same Idempotency-Key',
    remedy:
      'Repeat the request with the same Idempotency-Key to learn the outcome. Without a key, look at the transactions of the account first.',
    challenge: 'none',
    retryAfterSeconds: 1,
  },
  'replay-store-unavailable': {
    status: 503,
    title: 'Replay store unavailable',
    detail: 'The store that detects replays is full or cannot be reached',
    remedy:
      'Repeat the request after Retry-After seconds, with the same token, which was not used up, and a new DPoP proof if it is bound to a key.',
    challenge: 'none',
    retryAfterSeconds: 5,
  },
  'internal-error': {
    status: 500,
    title: 'Internal error',
    detail: 'The server failed to answer the request',
    remedy: 'Report the instance of this problem to the operator.',
    challenge: 'none',
  },
} as const satisfies Record<string, Problem>

/** Stable names; each is the last segment of a problem's `type`. */
export type ProblemName = keyof typeof problems

/** The row of the table, as its general type. */
export function findProblem(name: ProblemName): Problem {
  return problems[name]
}

/** Whether a text names a problem. */
export function isProblemName(name: string): name is ProblemName {
  return Object.hasOwn(problems, name)
}
