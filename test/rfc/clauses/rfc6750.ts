import { fallsOn, type Standard } from './clause.js'

const queryNotOffered = 'not offered: a token in the query is not read'

export const rfc6750: Standard = {
  name: 'RFC 6750',
  title: 'The OAuth 2.0 Authorization Framework: Bearer Token Usage',
  address: 'https://www.rfc-editor.org/rfc/rfc6750',
  leftOut: '§5.3 sums up §5.2 for clients and token servers.',
  clauses: [
    {
      id: '6750-2-1',
      level: 'MUST NOT',
      sentence: 'Clients MUST NOT use more than one method to transmit the token in each request.',
      doesNotApply: `${fallsOn.client}; 6750-3.1-1 is the answer`,
    },
    {
      id: '6750-2.1-1',
      level: 'SHOULD',
      sentence:
        'Clients SHOULD make authenticated requests with a bearer token using the "Authorization" request header field with the "Bearer" HTTP authorization scheme.',
      doesNotApply: fallsOn.client,
    },
    { id: '6750-2.1-2', level: 'MUST', sentence: 'Resource servers MUST support this method.' },
    {
      id: '6750-2.2-1',
      level: 'SHOULD NOT',
      sentence:
        'The "application/x-www-form-urlencoded" method SHOULD NOT be used except in application contexts where participating browsers do not have access to the "Authorization" request header field.',
      doesNotApply: `${fallsOn.client}; not offered: a token in the body is not read`,
    },
    {
      id: '6750-2.3-1',
      level: 'SHOULD',
      sentence:
        'Server success (2XX status) responses to these requests SHOULD contain a Cache-Control header with the "private" option.',
      doesNotApply: queryNotOffered,
    },
    {
      id: '6750-2.3-2',
      level: 'SHOULD NOT',
      sentence:
        '[…] it SHOULD NOT be used unless it is impossible to transport the access token in the "Authorization" request header field or the HTTP request entity-body.',
      doesNotApply: `${fallsOn.client}; ${queryNotOffered}`,
    },
    {
      id: '6750-3-1',
      level: 'MUST',
      sentence:
        'If the protected resource request does not include authentication credentials or does not contain an access token that enables access to the protected resource, the resource server MUST include the HTTP "WWW-Authenticate" response header field […]',
    },
    {
      id: '6750-3-2',
      level: 'MUST',
      sentence: 'All challenges defined by this specification MUST use the auth-scheme value "Bearer".',
    },
    {
      id: '6750-3-3',
      level: 'MUST',
      sentence: 'This scheme MUST be followed by one or more auth-param values.',
    },
    { id: '6750-3-4', level: 'MUST NOT', sentence: 'The "realm" attribute MUST NOT appear more than once.' },
    { id: '6750-3-5', level: 'MUST NOT', sentence: 'The "scope" attribute MUST NOT appear more than once.' },
    {
      id: '6750-3-6',
      level: 'SHOULD',
      sentence:
        'If the protected resource request included an access token and failed authentication, the resource server SHOULD include the "error" attribute to provide the client with the reason why the access request was declined.',
    },
    {
      id: '6750-3-7',
      level: 'MUST NOT',
      sentence: 'The "error", "error_description", and "error_uri" attributes MUST NOT appear more than once.',
    },
    {
      id: '6750-3-8',
      level: 'MUST NOT',
      sentence:
        'Values for the "scope" attribute […] MUST NOT include characters outside the set %x21 / %x23-5B / %x5D-7E for representing scope values and %x20 for delimiters between scope values.',
    },
    {
      id: '6750-3-9',
      level: 'MUST NOT',
      sentence:
        'Values for the "error" and "error_description" attributes […] MUST NOT include characters outside the set %x20-21 / %x23-5B / %x5D-7E.',
    },
    {
      id: '6750-3-10',
      level: 'MUST',
      sentence: 'Values for the "error_uri" attribute […] MUST conform to the URI-reference syntax […]',
      doesNotApply: 'not offered: the address of the explanation is the type of the problem in the body',
    },
    {
      id: '6750-3.1-1',
      level: 'SHOULD',
      sentence: '[invalid_request] The resource server SHOULD respond with the HTTP 400 (Bad Request) status code.',
    },
    {
      id: '6750-3.1-2',
      level: 'SHOULD',
      sentence: '[invalid_token] The resource SHOULD respond with the HTTP 401 (Unauthorized) status code.',
    },
    {
      id: '6750-3.1-3',
      level: 'SHOULD',
      sentence:
        '[insufficient_scope] The resource server SHOULD respond with the HTTP 403 (Forbidden) status code and MAY include the "scope" attribute with the scope necessary to access the protected resource.',
    },
    {
      id: '6750-3.1-4',
      level: 'SHOULD NOT',
      sentence:
        'If the request lacks any authentication information […], the resource server SHOULD NOT include an error code or other error information.',
    },
    {
      id: '6750-5.2-1',
      level: 'MUST',
      sentence: 'Such references MUST be infeasible for an attacker to guess […]',
      doesNotApply: `${fallsOn.authorizationServer}; tokens here are no references`,
    },
    {
      id: '6750-5.2-2',
      level: 'MUST',
      sentence: 'The token integrity protection MUST be sufficient to prevent the token from being modified.',
    },
    {
      id: '6750-5.2-3',
      level: 'MUST',
      sentence:
        'To protect against token disclosure, confidentiality protection MUST be applied using TLS [RFC5246] with a ciphersuite that provides confidentiality and integrity protection.',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '6750-5.2-4',
      level: 'MUST NOT',
      sentence: 'Therefore, bearer tokens MUST NOT be stored in cookies that can be sent in the clear.',
      doesNotApply: `${fallsOn.client}; a token in a cookie is not read`,
    },
    {
      id: '6750-5.2-5',
      level: 'MUST',
      sentence:
        'In such deployments, sufficient measures MUST be employed to ensure confidentiality of the token between the front-end and back-end servers […]',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '6750-5.2-6',
      level: 'MUST',
      sentence: 'First, the lifetime of the token MUST be limited […]',
      doesNotApply: `${fallsOn.authorizationServer}; 9068-2.2-2 and 9068-4-10 are the checks`,
    },
  ],
}
