import { fallsOn, type Standard } from './clause.js'

export const asvs: Standard = {
  name: 'OWASP ASVS 5.0',
  title: 'Application Security Verification Standard, requirements 9.1, 9.2, 10.3 and 15.4.2',
  address: 'https://github.com/OWASP/ASVS/tree/v5.0.0_release/5.0/en',
  leftOut: 'Of the requirements the first sentences are quoted.',
  clauses: [
    {
      id: 'ASVS-9.1.1',
      level: 'L1',
      sentence:
        "Verify that self-contained tokens are validated using their digital signature or MAC to protect against tampering before accepting the token's contents.",
    },
    {
      id: 'ASVS-9.1.2',
      level: 'L1',
      sentence:
        "Verify that only algorithms on an allowlist can be used to create and verify self-contained tokens, for a given context. The allowlist must include the permitted algorithms, ideally only either symmetric or asymmetric algorithms, and must not include the 'None' algorithm. […]",
    },
    {
      id: 'ASVS-9.1.3',
      level: 'L1',
      sentence:
        "Verify that key material that is used to validate self-contained tokens is from trusted pre-configured sources for the token issuer, preventing attackers from specifying untrusted sources and keys. For JWTs and other JWS structures, headers such as 'jku', 'x5u', and 'jwk' must be validated against an allowlist of trusted sources.",
    },
    {
      id: 'ASVS-9.2.1',
      level: 'L1',
      sentence:
        'Verify that, if a validity time span is present in the token data, the token and its content are accepted only if the verification time is within this validity time span. […]',
    },
    {
      id: 'ASVS-9.2.2',
      level: 'L2',
      sentence:
        "Verify that the service receiving a token validates the token to be the correct type and is meant for the intended purpose before accepting the token's contents. […]",
    },
    {
      id: 'ASVS-9.2.3',
      level: 'L2',
      sentence:
        'Verify that the service only accepts tokens which are intended for use with that service (audience). […]',
    },
    {
      id: 'ASVS-9.2.4',
      level: 'L2',
      sentence:
        'Verify that, if a token issuer uses the same private key for issuing tokens to different audiences, the issued tokens contain an audience restriction that uniquely identifies the intended audiences. […]',
      doesNotApply: `${fallsOn.authorizationServer}; ASVS-9.2.3 is the check`,
    },
    {
      id: 'ASVS-10.3.1',
      level: 'L2',
      sentence:
        'Verify that the resource server only accepts access tokens that are intended for use with that service (audience). […]',
    },
    {
      id: 'ASVS-10.3.2',
      level: 'L2',
      sentence:
        "Verify that the resource server enforces authorization decisions based on claims from the access token that define delegated authorization. If claims such as 'sub', 'scope', and 'authorization_details' are present, they must be part of the decision.",
    },
    {
      id: 'ASVS-10.3.3',
      level: 'L2',
      sentence:
        'Verify that if an access control decision requires identifying a unique user from an access token (JWT or related token introspection response), the resource server identifies the user from claims that cannot be reassigned to other users. […]',
    },
    {
      id: 'ASVS-10.3.4',
      level: 'L2',
      sentence:
        'Verify that, if the resource server requires specific authentication strength, methods, or recentness, it verifies that the presented access token satisfies these constraints. […]',
    },
    {
      id: 'ASVS-10.3.5',
      level: 'L3',
      sentence:
        'Verify that the resource server prevents the use of stolen access tokens or replay of access tokens (from unauthorized parties) by requiring sender-constrained access tokens, either Mutual TLS for OAuth 2 or OAuth 2 Demonstration of Proof of Possession (DPoP).',
    },
    {
      id: 'ASVS-15.4.2',
      level: 'L3',
      sentence:
        "Verify that checks on a resource's state, such as its existence or permissions, and the actions that depend on them are performed as a single atomic operation to prevent time-of-check to time-of-use (TOCTOU) race conditions. […]",
    },
  ],
}
