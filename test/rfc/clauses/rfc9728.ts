import { fallsOn, type Standard } from './clause.js'

const noKeys = 'not offered: nothing is signed or encrypted with keys of this server'
const notSigned = 'not offered: the metadata is not signed'
const noTexts = 'not offered: the metadata holds no text for people'

export const rfc9728: Standard = {
  name: 'RFC 9728',
  title: 'OAuth 2.0 Protected Resource Metadata',
  address: 'https://www.rfc-editor.org/rfc/rfc9728',
  leftOut: '§4 addresses the authorization server, §8 IANA.',
  clauses: [
    {
      id: '9728-1.2-1',
      level: 'none',
      sentence:
        "The protected resource's resource identifier, which is a URL that uses the https scheme and has no fragment component.",
    },
    { id: '9728-1.2-2', level: 'SHOULD NOT', sentence: '[…] it also SHOULD NOT include a query component […]' },
    {
      id: '9728-2-1',
      level: 'REQUIRED',
      sentence: "[resource] REQUIRED. The protected resource's resource identifier, as defined in Section 1.2.",
    },
    {
      id: '9728-2-2',
      level: 'MUST',
      sentence: '[jwks_uri] This URL MUST use the https scheme.',
      doesNotApply: noKeys,
    },
    {
      id: '9728-2-3',
      level: 'REQUIRED',
      sentence:
        "[jwks_uri] When both signing and encryption keys are made available, a use (public key use) parameter value is REQUIRED for all keys in the referenced JWK Set to indicate each key's intended usage.",
      doesNotApply: noKeys,
    },
    {
      id: '9728-2-4',
      level: 'RECOMMENDED',
      sentence:
        '[scopes_supported] RECOMMENDED. JSON array containing a list of scope values, as defined in OAuth 2.0 [RFC6749], that are used in authorization requests to request access to this protected resource.',
    },
    {
      id: '9728-2-5',
      level: 'MUST NOT',
      sentence: '[resource_signing_alg_values_supported] The value none MUST NOT be used.',
      doesNotApply: 'not offered: answers are not signed',
    },
    {
      id: '9728-2-6',
      level: 'RECOMMENDED',
      sentence: '[resource_name] It is RECOMMENDED that protected resource metadata include this field.',
      doesNotApply: noTexts,
    },
    {
      id: '9728-2.1-1',
      level: 'RECOMMENDED',
      sentence:
        '[…] it is RECOMMENDED that each kind of human-readable metadata provided include an instance of its metadata parameter without any language tags […]',
      doesNotApply: noTexts,
    },
    {
      id: '9728-2.2-1',
      level: 'MUST',
      sentence:
        'The signed metadata MUST be digitally signed or MACed (protected with a Message Authentication Code) using a JSON Web Signature (JWS) [JWS] and MUST contain an iss (issuer) claim denoting the party attesting to the claims in the signed metadata.',
      doesNotApply: notSigned,
    },
    {
      id: '9728-2.2-2',
      level: 'SHOULD NOT',
      sentence: 'A signed_metadata parameter SHOULD NOT appear as a claim in the JWT […]',
      doesNotApply: notSigned,
    },
    {
      id: '9728-3-1',
      level: 'MUST',
      sentence:
        "Protected resources supporting metadata MUST make a JSON document containing metadata as specified in Section 2 available at a URL formed by inserting a well-known URI string into the protected resource's resource identifier between the host component and the path and/or query components, if any.",
    },
    {
      id: '9728-3-2',
      level: 'MUST',
      sentence:
        'The well-known URI path suffix used MUST be registered in the "Well-Known URIs" registry [IANA.well-known].',
    },
    {
      id: '9728-3-3',
      level: 'MUST',
      sentence:
        'An OAuth 2.0 application using this specification MUST specify what well-known URI suffix it will use for this purpose.',
    },
    {
      id: '9728-3.1-1',
      level: 'MUST',
      sentence:
        'A protected resource metadata document MUST be queried using an HTTP GET request at the previously specified URL.',
      doesNotApply: `${fallsOn.client}; 9728-3-1 is the answer`,
    },
    {
      id: '9728-3.2-1',
      level: 'MUST',
      sentence:
        'A successful response MUST use the 200 OK HTTP status code and return a JSON object using the application/json content type that contains a set of metadata parameters as its members that are a subset of the metadata parameters defined in Section 2.',
    },
    {
      id: '9728-3.2-2',
      level: 'MUST',
      sentence: '[…] any metadata parameters that are not understood MUST be ignored.',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9728-3.2-3',
      level: 'MUST',
      sentence: 'Parameters with zero values MUST be omitted from the response.',
    },
    {
      id: '9728-3.3-1',
      level: 'MUST',
      sentence:
        "The resource value returned MUST be identical to the protected resource's resource identifier value into which the well-known URI path suffix was inserted to create the URL used to retrieve the metadata.",
    },
    {
      id: '9728-3.3-2',
      level: 'MUST',
      sentence:
        '[…] then the resource value returned MUST be identical to the URL that the client used to make the request to the resource server.',
      doesNotApply: `${fallsOn.client}, to which one document describes all addresses of the resource`,
    },
    {
      id: '9728-3.3-3',
      level: 'MUST',
      sentence:
        'The recipient MUST validate that any signed metadata was signed by a key belonging to the issuer and that the signature is valid.',
      doesNotApply: `${fallsOn.client}; ${notSigned}`,
    },
    {
      id: '9728-5.1-1',
      level: 'none',
      sentence: '[resource_metadata] The URL of the protected resource metadata.',
    },
    {
      id: '9728-5.2-1',
      level: 'SHOULD',
      sentence:
        'If the client receives such a WWW-Authenticate response, it SHOULD retrieve the updated protected resource metadata and use the new metadata values obtained […]',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9728-6-1',
      level: 'MUST',
      sentence:
        'Therefore, comparisons between JSON strings and other Unicode strings MUST be performed as specified below […]',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9728-7.1-1',
      level: 'MUST',
      sentence: 'Implementations MUST support TLS.',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '9728-7.1-2',
      level: 'MUST',
      sentence:
        'They MUST follow the guidance in [BCP195], which provides recommendations and requirements for improving the security of deployed services that use TLS.',
      doesNotApply: fallsOn.deployment,
    },
    {
      id: '9728-7.2-1',
      level: 'SHOULD',
      sentence:
        'The client SHOULD still follow OAuth best practices and request tokens with as limited a scope as possible for the given operation […]',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9728-7.3-1',
      level: 'MUST',
      sentence:
        'TLS certificate checking MUST be performed by the client as described in [RFC9525] when making a protected resource metadata request.',
      doesNotApply: fallsOn.client,
    },
    {
      id: '9728-7.4-1',
      level: 'SHOULD',
      sentence:
        'If a client expects to interact with multiple resource servers, the client SHOULD request audience-restricted access tokens using [RFC8707], and the authorization server SHOULD support audience-restricted access tokens.',
      doesNotApply: `${fallsOn.client} and the authorization server`,
    },
    {
      id: '9728-7.7-1',
      level: 'SHOULD',
      sentence:
        'Clients SHOULD take appropriate precautions against SSRF attacks, such as blocking requests to internal IP address ranges.',
      doesNotApply: fallsOn.client,
    },
  ],
}
