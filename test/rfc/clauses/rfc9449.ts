import { fallsOn, type Standard } from './clause.js'

export const rfc9449: Standard = {
  name: 'RFC 9449',
  title: 'OAuth 2.0 Demonstrating Proof of Possession (DPoP)',
  address: 'https://www.rfc-editor.org/rfc/rfc9449',
  leftOut:
    '§4.1 and §4.2 address the client, whose proofs §4.3 checks; §5 and §10 address the authorization server, and so does §8 but for what §9 takes from it.',
  clauses: [
    {
      id: '9449-4.3-1',
      level: 'MUST',
      sentence: 'There is not more than one DPoP HTTP request header field.',
    },
    {
      id: '9449-4.3-2',
      level: 'MUST',
      sentence: 'The DPoP HTTP request header field value is a single and well-formed JWT.',
    },
    { id: '9449-4.3-3', level: 'MUST', sentence: 'All required claims per Section 4.2 are contained in the JWT.' },
    { id: '9449-4.3-4', level: 'MUST', sentence: 'The typ JOSE Header Parameter has the value dpop+jwt.' },
    {
      id: '9449-4.3-5',
      level: 'MUST',
      sentence:
        'The alg JOSE Header Parameter indicates a registered asymmetric digital signature algorithm [IANA.JOSE.ALGS], is not none, is supported by the application, and is acceptable per local policy.',
    },
    {
      id: '9449-4.3-6',
      level: 'MUST',
      sentence: 'The JWT signature verifies with the public key contained in the jwk JOSE Header Parameter.',
    },
    { id: '9449-4.3-7', level: 'MUST', sentence: 'The jwk JOSE Header Parameter does not contain a private key.' },
    { id: '9449-4.3-8', level: 'MUST', sentence: 'The htm claim matches the HTTP method of the current request.' },
    {
      id: '9449-4.3-9',
      level: 'MUST',
      sentence:
        'The htu claim matches the HTTP URI value for the HTTP request in which the JWT was received, ignoring any query and fragment parts.',
    },
    {
      id: '9449-4.3-10',
      level: 'MUST',
      sentence:
        'If the server provided a nonce value to the client, the nonce claim matches the server-provided nonce value.',
    },
    {
      id: '9449-4.3-11',
      level: 'MUST',
      sentence:
        'The creation time of the JWT, as determined by either the iat claim or a server managed timestamp via the nonce claim, is within an acceptable window (see Section 11.1).',
    },
    {
      id: '9449-4.3-12',
      level: 'MUST',
      sentence:
        'If presented to a protected resource in conjunction with an access token, ensure that the value of the ath claim equals the hash of that access token, and confirm that the public key to which the access token is bound matches the public key from the DPoP proof.',
    },
    {
      id: '9449-4.3-13',
      level: 'SHOULD',
      sentence:
        'To reduce the likelihood of false negatives, servers SHOULD employ syntax-based normalization (Section 6.2.2 of [RFC3986]) and scheme-based normalization (Section 6.2.3 of [RFC3986]) before comparing the htu claim.',
    },
    {
      id: '9449-6-1',
      level: 'MUST',
      sentence:
        'Resource servers MUST be able to reliably identify whether an access token is DPoP-bound and ascertain sufficient information to verify the binding to the public key of the DPoP proof (see Section 7.1).',
    },
    {
      id: '9449-6-2',
      level: 'MUST',
      sentence:
        'Resource servers supporting DPoP MUST ensure that the public key from the DPoP proof matches the one bound to the access token.',
    },
    {
      id: '9449-6.1-1',
      level: 'MUST',
      sentence:
        'The value of the jkt member MUST be the base64url encoding (as defined in [RFC7515]) of the JWK SHA-256 Thumbprint (according to [RFC7638]) of the DPoP public key (in JWK format) to which the access token is bound.',
    },
    {
      id: '9449-6.2-1',
      level: 'MUST',
      sentence: 'If the token_type member is included in the introspection response, it MUST contain the value DPoP.',
      doesNotApply: 'not offered: tokens are not introspected',
    },
    {
      id: '9449-7-1',
      level: 'MUST',
      sentence:
        'Requests to DPoP-protected resources MUST include both a DPoP proof as per Section 4 and the access token as described in Section 7.1.',
      doesNotApply: `${fallsOn.client}; 9449-7.1-1 is the check`,
    },
    {
      id: '9449-7-2',
      level: 'MUST',
      sentence: 'The DPoP proof MUST include the ath claim with a valid hash of the associated access token.',
      doesNotApply: `${fallsOn.client}; 9449-4.3-12 is the check`,
    },
    {
      id: '9449-7.1-1',
      level: 'MUST',
      sentence:
        'For such an access token, a resource server MUST check that a DPoP proof was also received in the DPoP header field of the HTTP request, check the DPoP proof according to the rules in Section 4.3, and check that the public key of the DPoP proof matches the public key to which the access token is bound per Section 6.',
    },
    {
      id: '9449-7.1-2',
      level: 'MUST NOT',
      sentence: 'The resource server MUST NOT grant access to the resource unless all checks are successful.',
    },
    {
      id: '9449-7.1-3',
      level: 'SHOULD',
      sentence:
        'An error parameter ([RFC6750], Section 3) SHOULD be included to indicate the reason why the request was declined, if the request included an access token but failed authentication.',
    },
    {
      id: '9449-7.1-4',
      level: 'SHOULD',
      sentence:
        'An algs parameter SHOULD be included to signal to the client the JWS algorithms that are acceptable for the DPoP proof JWT.',
    },
    {
      id: '9449-7.1-5',
      level: 'MUST',
      sentence: '[…] unknown parameters MUST be ignored by recipients.',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9449-7.1-6',
      level: 'MUST NOT',
      sentence:
        'Therefore, this authentication scheme MUST NOT be used with the Proxy-Authenticate or Proxy-Authorization header fields.',
    },
    {
      id: '9449-7.2-1',
      level: 'MUST',
      sentence:
        'Specifically, such a protected resource MUST reject a DPoP-bound access token received as a bearer token per [RFC6750].',
    },
    {
      id: '9449-7.2-2',
      level: 'SHOULD NOT',
      sentence:
        'If no authentication information has been included with the request, then the challenges SHOULD NOT include an error code or other error information, as per Section 3.1 of [RFC6750].',
    },
    {
      id: '9449-7.2-3',
      level: 'SHOULD',
      sentence:
        'If the mechanism used to attempt authentication could be established unambiguously, then the corresponding challenge SHOULD be used to deliver error information.',
    },
    {
      id: '9449-7.3-1',
      level: 'RECOMMENDED',
      sentence:
        'It is RECOMMENDED that clients generate a unique DPoP proof, even when retrying idempotent requests in response to HTTP errors generally understood as transient.',
      doesNotApply: fallsOn.client,
    },
    { id: '9449-8-1', level: 'MUST', sentence: 'Nonce values MUST be unpredictable.' },
    { id: '9449-8-2', level: 'MUST NOT', sentence: '[…] there MUST NOT be more than one DPoP-Nonce header.' },
    {
      id: '9449-8-3',
      level: 'MUST',
      sentence:
        'If the nonce claim in the DPoP proof does not exactly match a nonce recently supplied by the authorization server to the client, the authorization server MUST reject the request.',
    },
    {
      id: '9449-8.2-1',
      level: 'MUST',
      sentence:
        'The client MUST use the new nonce value supplied for the next token request and for all subsequent token requests until the authorization server supplies a new nonce.',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9449-9-1',
      level: 'none',
      sentence:
        'Resource servers use an HTTP 401 (Unauthorized) error code with an accompanying WWW-Authenticate: DPoP value and DPoP-Nonce value to accomplish this.',
    },
    {
      id: '9449-11.1-1',
      level: 'MUST',
      sentence:
        'To limit this, servers MUST only accept DPoP proofs for a limited time after their creation (preferably only for a relatively brief period on the order of seconds or minutes).',
    },
    {
      id: '9449-11.1-2',
      level: 'none',
      sentence: 'HTTP requests to the same URI for which the jti value has been seen before would be declined.',
    },
    {
      id: '9449-11.1-3',
      level: 'none',
      sentence:
        'In order to guard against memory exhaustion attacks, a server that is tracking jti values should reject DPoP proof JWTs with unnecessarily large jti values or store only a hash thereof.',
    },
    {
      id: '9449-11.2-1',
      level: 'SHOULD NOT',
      sentence:
        'Deployments that do not utilize the nonce mechanism SHOULD NOT issue long-lived DPoP constrained access tokens […]',
      doesNotApply: fallsOn.authorizationServer,
    },
    {
      id: '9449-11.3-1',
      level: 'MUST NOT',
      sentence:
        'A server MUST NOT accept any DPoP proofs without the nonce claim when a DPoP nonce has been provided to the client.',
    },
    {
      id: '9449-11.5-1',
      level: 'MUST',
      sentence:
        'Servers accepting signed DPoP proof JWTs MUST verify that the typ field is dpop+jwt in the headers of the JWTs to ensure that adversaries cannot use JWTs created for other purposes.',
    },
    {
      id: '9449-11.6-1',
      level: 'MUST',
      sentence:
        'Implementers MUST ensure that only asymmetric digital signature algorithms (such as ES256) that are deemed secure can be used for signing DPoP proofs.',
    },
    {
      id: '9449-11.6-2',
      level: 'MUST NOT',
      sentence: 'In particular, the algorithm none MUST NOT be allowed.',
    },
  ],
}
