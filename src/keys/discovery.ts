import { isTrustworthyUrl } from '../core/trustworthy-url.js'
import { fetchJson } from './bounded-fetch.js'

/**
 * Finds the `jwks_uri` of an issuer: OpenID Connect Discovery §4 first, then RFC 8414 §3. The document's `issuer` must be
 * identical to the one asked for (RFC 8414 §3.3), and the keys' address https, or http on loopback.
 */
export async function discoverJwksUri(issuer: string): Promise<string> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const addresses = [
    `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ]
  const faults: unknown[] = []
  for (const address of addresses) {
    try {
      return readJwksUri(await fetchJson(address), issuer)
    } catch (error) {
      faults.push(error)
    }
  }
  throw new AggregateError(faults, `no usable metadata of ${issuer}`)
}

function readJwksUri(metadata: unknown, issuer: string): string {
  const { issuer: named, jwks_uri: jwksUri } = (metadata ?? {}) as Record<string, unknown>
  if (named !== issuer) throw new Error('the metadata names another issuer')
  if (typeof jwksUri !== 'string' || !URL.canParse(jwksUri)) throw new Error('the metadata has no jwks_uri')
  if (!isTrustworthyUrl(new URL(jwksUri))) throw new Error('jwks_uri is neither https nor loopback')
  return jwksUri
}
