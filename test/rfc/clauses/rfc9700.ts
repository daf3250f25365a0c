import { fallsOn, type Standard } from './clause.js'

export const rfc9700: Standard = {
  name: 'RFC 9700',
  title: 'Best Current Practice for OAuth 2.0 Security',
  address: 'https://www.rfc-editor.org/rfc/rfc9700',
  leftOut: 'All sections that address only the client or the authorization server.',
  clauses: [
    {
      id: '9700-2.2.1-1',
      level: 'SHOULD',
      sentence:
        'Authorization and resource servers SHOULD use mechanisms for sender-constraining access tokens, such as mutual TLS for OAuth 2.0 [RFC8705] or OAuth 2.0 Demonstrating Proof of Possession (DPoP) [RFC9449] […], to prevent misuse of stolen and leaked access tokens.',
    },
    {
      id: '9700-2.3-1',
      level: 'MUST',
      sentence:
        '[A token that was not meant to be used for that particular resource server] If it was not, the resource server MUST refuse to serve the respective request.',
    },
    {
      id: '9700-2.3-2',
      level: 'none',
      sentence:
        '[A token that was not meant to be used for that particular action on the particular resource] If not, the resource server must refuse to serve the respective request.',
    },
    {
      id: '9700-2.6-1',
      level: 'RECOMMENDED',
      sentence:
        'It is RECOMMENDED to use end-to-end TLS according to [BCP195] between the client and the resource server.',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '9700-4.9.3-1',
      level: 'SHOULD',
      sentence:
        'Sender-constrained access tokens, as described in Section 4.10.1, SHOULD be used to prevent the attacker from replaying the access tokens on other resource servers.',
      doesNotApply: `${fallsOn.authorizationServer}; 9700-2.2.1-1 is the check`,
    },
    {
      id: '9700-4.9.3-2',
      level: 'SHOULD',
      sentence:
        'Audience restriction as described in Section 4.10.2 SHOULD be used to prevent replay of captured access tokens on other resource servers.',
      doesNotApply: `${fallsOn.authorizationServer}; 9700-2.3-1 is the check`,
    },
    {
      id: '9700-4.9.3-3',
      level: 'MUST',
      sentence:
        'The resource server MUST treat access tokens like other sensitive secrets and not store or transfer them in plaintext.',
    },
    {
      id: '9700-4.13-1',
      level: 'MUST',
      sentence:
        'A reverse proxy MUST therefore sanitize any inbound requests to ensure the authenticity and integrity of all header values relevant for the security of the application servers.',
      doesNotApply: 'falls on the reverse proxy; no header field of a proxy is believed here',
    },
    {
      id: '9700-4.13-2',
      level: 'MUST',
      sentence:
        'Furthermore, the communication link between the reverse proxy and application server MUST be protected against eavesdropping, injection, and replay of messages.',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '9700-4.15.1-1',
      level: 'MUST',
      sentence:
        'Where this cannot be avoided, authorization servers MUST provide other means for the resource server to distinguish between the two types of access tokens.',
      doesNotApply: fallsOn.authorizationServer,
    },
  ],
}
