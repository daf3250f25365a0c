import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { ClientMetadata } from 'oidc-provider'

/** The intranet as a client of the authorization server: what the server knows of it, and the key that proves it. */
export interface IntranetClient {
  readonly metadata: ClientMetadata
  /** The private half of the key in `metadata`. It never leaves the process. */
  readonly privateKey: KeyObject
}

/**
 * Registers a confidential client with a fresh key pair (private_key_jwt, RFC 7523 §2.2): the authorization server holds no secret that
 * could leak from it. A real intranet keeps its key in a vault and registers once.
 */
export function createIntranetClient(publicUrl: string): IntranetClient {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const metadata: ClientMetadata = {
    client_id: 'fabrikam-intranet',
    client_name: 'Fabrikam’s intranet',
    redirect_uris: [`${publicUrl}/callback`],
    post_logout_redirect_uris: [`${publicUrl}/signed-out`],
    scope: 'openid step_up',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [publicKey.export({ format: 'jwk' })] },
  }
  return { metadata, privateKey }
}
