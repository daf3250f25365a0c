import { fallsOn, type Standard } from './clause.js'

const noEncryption = 'not offered: tokens are not encrypted'

export const rfc8725: Standard = {
  name: 'RFC 8725',
  title: 'JSON Web Token Best Current Practices',
  address: 'https://www.rfc-editor.org/rfc/rfc8725',
  clauses: [
    {
      id: '8725-2.8-1',
      level: 'MUST',
      sentence:
        '[…] if a JWT is used in an application context in which it could be confused with other kinds of JWTs, then mitigations MUST be employed to prevent these substitution attacks.',
    },
    {
      id: '8725-3.1-1',
      level: 'MUST NOT',
      sentence:
        'Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use any other algorithms when performing cryptographic operations.',
    },
    {
      id: '8725-3.1-2',
      level: 'MUST',
      sentence:
        'The library MUST ensure that the "alg" or "enc" header specifies the same algorithm that is used for the cryptographic operation.',
    },
    {
      id: '8725-3.1-3',
      level: 'MUST',
      sentence:
        'Moreover, each key MUST be used with exactly one algorithm, and this MUST be checked when the cryptographic operation is performed.',
    },
    {
      id: '8725-3.2-1',
      level: 'SHOULD',
      sentence:
        '[…] unless the algorithm(s) used in the JWS are acceptable to the application, it SHOULD consider the JWS to be invalid.',
    },
    {
      id: '8725-3.2-2',
      level: 'MUST',
      sentence:
        'Therefore, applications MUST only allow the use of cryptographically current algorithms that meet the security requirements of the application.',
    },
    {
      id: '8725-3.2-3',
      level: 'MUST',
      sentence: 'Applications MUST therefore be designed to enable cryptographic agility.',
    },
    {
      id: '8725-3.2-4',
      level: 'SHOULD NOT',
      sentence:
        'Similarly, JWT libraries SHOULD NOT consume JWTs using "none" unless explicitly requested by the caller.',
    },
    {
      id: '8725-3.2-5',
      level: 'SHOULD NOT',
      sentence:
        'JWT libraries SHOULD NOT generate JWTs using "none" unless explicitly requested to do so by the caller.',
      doesNotApply: `${fallsOn.authorizationServer}, which signs`,
    },
    {
      id: '8725-3.2-6',
      level: 'SHOULD',
      sentence:
        'Applications SHOULD follow these algorithm-specific recommendations: […] Avoid all RSA-PKCS1 v1.5 encryption algorithms ([RFC8017], Section 7.2) […]',
      doesNotApply: noEncryption,
    },
    {
      id: '8725-3.2-7',
      level: 'SHOULD',
      sentence: '[…] JWT libraries SHOULD implement ECDSA using the deterministic approach defined in [RFC6979].',
      doesNotApply: `${fallsOn.authorizationServer}, which signs`,
    },
    {
      id: '8725-3.3-1',
      level: 'MUST',
      sentence:
        'All cryptographic operations used in the JWT MUST be validated and the entire JWT MUST be rejected if any of them fail to validate.',
    },
    {
      id: '8725-3.3-2',
      level: 'MUST',
      sentence:
        '[…] Nested JWTs in which both outer and inner operations MUST be validated using the keys and algorithms supplied by the application.',
      doesNotApply: noEncryption,
    },
    {
      id: '8725-3.4-1',
      level: 'none',
      sentence:
        'The JWS/JWE library itself must validate these inputs before using them, or it must use underlying cryptographic libraries that do so (or both!).',
    },
    {
      id: '8725-3.4-2',
      level: 'MUST',
      sentence: '[ECDH-ES] For the NIST prime-order curves P-256, P-384, and P-521, validation MUST be performed […]',
      doesNotApply: noEncryption,
    },
    {
      id: '8725-3.5-1',
      level: 'MUST NOT',
      sentence:
        'In particular, human-memorizable passwords MUST NOT be directly used as the key to a keyed-MAC algorithm such as "HS256".',
    },
    {
      id: '8725-3.5-2',
      level: 'MUST',
      sentence:
        'The key entropy and random values advice in Section 10.1 of [RFC7515] and the password considerations in Section 8.8 of [RFC7518] MUST be followed.',
      doesNotApply: `${fallsOn.authorizationServer}, which makes the keys; 8725-3.4-1 refuses weak ones`,
    },
    {
      id: '8725-3.6-1',
      level: 'SHOULD NOT',
      sentence: 'Compression of data SHOULD NOT be done before encryption […]',
      doesNotApply: noEncryption,
    },
    {
      id: '8725-3.7-1',
      level: 'MUST',
      sentence:
        'Implementations and applications MUST do this [use UTF-8] and not use or admit the use of other Unicode encodings for these purposes.',
    },
    {
      id: '8725-3.8-1',
      level: 'MUST',
      sentence:
        'When a JWT contains an "iss" (issuer) claim, the application MUST validate that the cryptographic keys used for the cryptographic operations in the JWT belong to the issuer. If they do not, the application MUST reject the JWT.',
    },
    {
      id: '8725-3.8-2',
      level: 'MUST',
      sentence:
        'Similarly, when the JWT contains a "sub" (subject) claim, the application MUST validate that the subject value corresponds to a valid subject and/or issuer-subject pair at the application.',
    },
    {
      id: '8725-3.8-3',
      level: 'MUST',
      sentence: 'If the issuer, subject, or the pair are invalid, the application MUST reject the JWT.',
    },
    {
      id: '8725-3.9-1',
      level: 'MUST',
      sentence:
        'In such cases, the relying party or application MUST validate the audience value, and if the audience value is not present or not associated with the recipient, it MUST reject the JWT.',
    },
    {
      id: '8725-3.9-2',
      level: 'MUST',
      sentence:
        'If the same issuer can issue JWTs that are intended for use by more than one relying party or application, the JWT MUST contain an "aud" (audience) claim […]',
      doesNotApply: `${fallsOn.authorizationServer}; 9068-2.2-3 is the check`,
    },
    {
      id: '8725-3.10-1',
      level: 'none',
      sentence:
        '[kid] Applications should ensure that this does not create SQL or LDAP injection vulnerabilities by validating and/or sanitizing the received value.',
    },
    {
      id: '8725-3.10-2',
      level: 'SHOULD',
      sentence:
        '[jku, x5u] Applications SHOULD protect against such attacks, e.g., by matching the URL to a whitelist of allowed locations and ensuring no cookies are sent in the GET request.',
    },
    {
      id: '8725-3.11-1',
      level: 'RECOMMENDED',
      sentence: 'Explicit typing is RECOMMENDED for new uses of JWTs.',
    },
    {
      id: '8725-3.11-2',
      level: 'MUST',
      sentence:
        'When applying explicit typing to a Nested JWT, the "typ" Header Parameter containing the explicit type value MUST be present in the inner JWT of the Nested JWT […]',
      doesNotApply: noEncryption,
    },
    {
      id: '8725-3.12-1',
      level: 'MUST',
      sentence:
        'If more than one kind of JWT can be issued by the same issuer, the validation rules for those JWTs MUST be written such that they are mutually exclusive, rejecting JWTs of the wrong kind.',
    },
  ],
}
