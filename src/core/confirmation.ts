/** What a token is bound to (RFC 7800 `cnf`): members that are undefined bind it to nothing. */
export interface Confirmation {
  /** `jkt`: SHA-256 thumbprint of the key that DPoP proofs must be made with (RFC 9449 §6.1), base64url. */
  keyThumbprint: string | undefined
  /** `x5t#S256`: SHA-256 thumbprint of the client certificate of the TLS connection (RFC 8705 §3.1), base64url. */
  certificateThumbprint: string | undefined
}

const sha256Pattern = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/**
 * Reads a `cnf` claim that is present. Returns undefined for one that is not known in full: a member of another name, none at all, or a
 * value that is no SHA-256 digest in canonical base64url. What cannot be checked must not be taken for a bearer token.
 */
export function readConfirmation(cnf: unknown): Confirmation | undefined {
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) return undefined
  const { jkt, 'x5t#S256': x5t, ...unknown } = cnf as Record<string, unknown>
  if (Object.keys(unknown).length > 0 || (jkt === undefined && x5t === undefined)) return undefined
  if (!isDigestOrUndefined(jkt) || !isDigestOrUndefined(x5t)) return undefined
  return { keyThumbprint: jkt, certificateThumbprint: x5t }
}

function isDigestOrUndefined(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && sha256Pattern.test(value))
}
