import { fallsOn, type Standard } from './clause.js'

const noChains = 'not offered: chains are validated where TLS ends, if at all; here certificates are compared'

export const rfc8705: Standard = {
  name: 'RFC 8705',
  title: 'OAuth 2.0 Mutual-TLS Client Authentication and Certificate-Bound Access Tokens',
  address: 'https://www.rfc-editor.org/rfc/rfc8705',
  leftOut: '§2, §4 and §5 address the client and the authorization server.',
  clauses: [
    {
      id: '8705-3-1',
      level: 'MUST',
      sentence:
        '[…] those requests MUST be made over a mutually authenticated TLS connection using the same certificate that was used for mutual TLS at the token endpoint.',
      doesNotApply: `${fallsOn.client}; 8705-3-2 is the check`,
    },
    {
      id: '8705-3-2',
      level: 'MUST',
      sentence:
        'The protected resource MUST obtain, from its TLS implementation layer, the client certificate used for mutual TLS and MUST verify that the certificate matches the certificate associated with the access token.',
    },
    {
      id: '8705-3-3',
      level: 'MUST',
      sentence:
        'If they do not match, the resource access attempt MUST be rejected with an error, per [RFC6750], using an HTTP 401 status code and the "invalid_token" error code.',
    },
    {
      id: '8705-3.1-1',
      level: 'SHOULD',
      sentence:
        'When access tokens are represented as JSON Web Tokens (JWT) [RFC7519], the certificate hash information SHOULD be represented using the "x5t#S256" confirmation method member defined herein.',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '8705-3.1-2',
      level: 'MUST',
      sentence:
        "The base64url-encoded value MUST omit all trailing pad '=' characters and MUST NOT include any line breaks, whitespace, or other additional characters.",
    },
    {
      id: '8705-7.4-1',
      level: 'SHOULD',
      sentence:
        '[…] the authorization server SHOULD only accept, as trust anchors, a limited number of CAs whose certificate issuance policy meets its security requirements.',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '8705-7.5-1',
      level: 'SHOULD',
      sentence:
        'For these reasons, implementors SHOULD use an established and well-tested X.509 library […] for validation of X.509 certificate chains and SHOULD NOT attempt to write their own X.509 certificate validation procedures.',
      doesNotApply: noChains,
    },
  ],
}
