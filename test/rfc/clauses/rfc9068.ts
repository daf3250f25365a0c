import { fallsOn, type Standard } from './clause.js'

export const rfc9068: Standard = {
  name: 'RFC 9068',
  title: 'JSON Web Token (JWT) Profile for OAuth 2.0 Access Tokens',
  address: 'https://www.rfc-editor.org/rfc/rfc9068',
  leftOut: '§2.2.2, §2.2.3.1 and §3 address the authorization server, §6 the client.',
  clauses: [
    {
      id: '9068-2.1-1',
      level: 'MUST',
      sentence: 'JWT access tokens MUST be signed.',
      doesNotApply: `${fallsOn.authorizationServer}; 9068-4-7 is the check`,
    },
    {
      id: '9068-2.1-2',
      level: 'MUST NOT',
      sentence: 'JWT access tokens MUST NOT use "none" as the signing algorithm.',
      doesNotApply: `${fallsOn.authorizationServer}; 9068-4-8 is the check`,
    },
    {
      id: '9068-2.1-3',
      level: 'MUST',
      sentence:
        'Authorization servers and resource servers conforming to this specification MUST include RS256 (as defined in [RFC7518]) among their supported signature algorithms.',
    },
    {
      id: '9068-2.1-4',
      level: 'MUST',
      sentence: 'JWT access tokens MUST include this media type in the "typ" header parameter […]',
      doesNotApply: `${fallsOn.authorizationServer}; 9068-4-2 is the check`,
    },
    {
      id: '9068-2.1-5',
      level: 'SHOULD',
      sentence: 'Therefore, the "typ" value used SHOULD be "at+jwt".',
      doesNotApply: fallsOn.authorizationServer,
    },
    { id: '9068-2.2-1', level: 'REQUIRED', sentence: '[iss] REQUIRED - as defined in Section 4.1.1 of [RFC7519].' },
    { id: '9068-2.2-2', level: 'REQUIRED', sentence: '[exp] REQUIRED - as defined in Section 4.1.4 of [RFC7519].' },
    { id: '9068-2.2-3', level: 'REQUIRED', sentence: '[aud] REQUIRED - as defined in Section 4.1.3 of [RFC7519].' },
    { id: '9068-2.2-4', level: 'REQUIRED', sentence: '[sub] REQUIRED - as defined in Section 4.1.2 of [RFC7519].' },
    {
      id: '9068-2.2-5',
      level: 'REQUIRED',
      sentence: '[client_id] REQUIRED - as defined in Section 4.3 of [RFC8693].',
    },
    { id: '9068-2.2-6', level: 'REQUIRED', sentence: '[iat] REQUIRED - as defined in Section 4.1.6 of [RFC7519].' },
    { id: '9068-2.2-7', level: 'REQUIRED', sentence: '[jti] REQUIRED - as defined in Section 4.1.7 of [RFC7519].' },
    {
      id: '9068-2.2.3-1',
      level: 'SHOULD',
      sentence:
        'If an authorization request includes a scope parameter, the corresponding issued JWT access token SHOULD include a "scope" claim as defined in Section 4.2 of [RFC8693].',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '9068-2.2.3-2',
      level: 'MUST',
      sentence:
        'All the individual scope strings in the "scope" claim MUST have meaning for the resources indicated in the "aud" claim.',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '9068-4-1',
      level: 'MUST',
      sentence: 'Resource servers receiving a JWT access token MUST validate it in the following manner.',
    },
    {
      id: '9068-4-2',
      level: 'MUST',
      sentence:
        'The resource server MUST verify that the "typ" header value is "at+jwt" or "application/at+jwt" and reject tokens carrying any other value.',
    },
    {
      id: '9068-4-3',
      level: 'SHOULD',
      sentence:
        'If encryption was negotiated with the authorization server at registration time and the incoming JWT access token is not encrypted, the resource server SHOULD reject it.',
      doesNotApply: 'not offered: encryption cannot be negotiated',
    },
    {
      id: '9068-4-4',
      level: 'MUST',
      sentence:
        'The issuer identifier for the authorization server (which is typically obtained during discovery) MUST exactly match the value of the "iss" claim.',
    },
    {
      id: '9068-4-5',
      level: 'MUST',
      sentence:
        'The resource server MUST validate that the "aud" claim contains a resource indicator value corresponding to an identifier the resource server expects for itself.',
    },
    {
      id: '9068-4-6',
      level: 'MUST',
      sentence:
        'The JWT access token MUST be rejected if "aud" does not contain a resource indicator of the current resource server as a valid audience.',
    },
    {
      id: '9068-4-7',
      level: 'MUST',
      sentence:
        'The resource server MUST validate the signature of all incoming JWT access tokens according to [RFC7515] using the algorithm specified in the JWT "alg" Header Parameter.',
    },
    {
      id: '9068-4-8',
      level: 'MUST',
      sentence: 'The resource server MUST reject any JWT in which the value of "alg" is "none".',
    },
    {
      id: '9068-4-9',
      level: 'MUST',
      sentence: 'The resource server MUST use the keys provided by the authorization server.',
    },
    {
      id: '9068-4-10',
      level: 'MUST',
      sentence: 'The current time MUST be before the time represented by the "exp" claim.',
    },
    {
      id: '9068-4-11',
      level: 'MUST',
      sentence: 'The resource server MUST handle errors as described in Section 3.1 of [RFC6750].',
    },
    {
      id: '9068-4-12',
      level: 'MUST',
      sentence:
        'In particular, in case of any failure in the validation checks listed above, the authorization server response MUST include the error code "invalid_token".',
    },
    {
      id: '9068-4-13',
      level: 'SHOULD',
      sentence:
        'If the JWT access token includes authorization claims as described in Section 2.2.3, the resource server SHOULD use them in combination with any other contextual information available to determine whether the current call should be authorized or rejected.',
    },
    {
      id: '9068-5-1',
      level: 'MUST',
      sentence:
        'To prevent cross-JWT confusion, authorization servers MUST use a distinct identifier as an "aud" claim value to uniquely identify access tokens issued by the same issuer for distinct resources.',
      doesNotApply: fallsOn.authorizationServer,
    },
  ],
}
