import { fallsOn, type Standard } from './clause.js'

export const rfc9470: Standard = {
  name: 'RFC 9470',
  title: 'OAuth 2.0 Step Up Authentication Challenge Protocol',
  address: 'https://www.rfc-editor.org/rfc/rfc9470',
  leftOut: '§6.2 is about introspection, which is not offered; §7 addresses the authorization server.',
  clauses: [
    {
      id: '9470-3-1',
      level: 'none',
      sentence:
        '[insufficient_user_authentication] The authentication event associated with the access token presented with the request does not meet the authentication requirements of the protected resource.',
    },
    {
      id: '9470-3-2',
      level: 'none',
      sentence:
        '[acr_values] A space-separated string listing the authentication context class reference values in order of preference. The protected resource requires one of these values for the authentication event associated with the access token.',
    },
    {
      id: '9470-3-3',
      level: 'none',
      sentence:
        '[max_age] This value indicates the allowable elapsed time in seconds since the last active authentication event associated with the access token.',
    },
    {
      id: '9470-3-4',
      level: 'none',
      sentence: '[max_age] […] it has to represent a non-negative integer.',
    },
    {
      id: '9470-4-1',
      level: 'SHOULD',
      sentence:
        'A client receiving a challenge from the resource server carrying the insufficient_user_authentication error code SHOULD parse the WWW-Authenticate header for acr_values and max_age and use them, if present, in constructing an authorization request.',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9470-5-1',
      level: 'SHOULD',
      sentence:
        '[…] the authorization server SHOULD consider the requested acr value as necessary for successfully fulfilling the request.',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '9470-6.1-1',
      level: 'none',
      sentence:
        '[…] the auth_time and acr claims (per Section 2.2.1 of [RFC9068]) are used to convey the time and context […]',
    },
    {
      id: '9470-9-1',
      level: 'MUST NOT',
      sentence: '[…] MUST NOT be used to position OAuth as an authentication protocol.',
      doesNotApply: 'says what the protocol is for, not how a server behaves',
    },
    {
      id: '9470-9-2',
      level: 'none',
      sentence:
        '[A challenge without verifying the token] will leak the required properties of an authorization token to an actor who has not proven they can obtain a token for this resource server.',
    },
  ],
}
