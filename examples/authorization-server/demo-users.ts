import type { ClientMetadata } from 'oidc-provider'
import type { UserSeed } from './users.js'

/** The two people of the demo. Their secrets are public, which is what makes them a demo's. */
export const demoUsers: readonly (UserSeed & { readonly totpSecret: string })[] = [
  { username: 'alice', password: 'correct horse battery staple', totpSecret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' },
  { username: 'bob', password: 'tower of small blue bricks', totpSecret: 'KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU' },
]

/** A public native client: no secret, PKCE, and a loopback redirect URI whose port it may choose (RFC 8252 §7.3). */
export const demoClient = {
  client_id: 'stepgate-demo',
  client_name: 'The stepgate demo',
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/callback'],
} as const satisfies ClientMetadata

/** The bank's front end: a page in a browser can keep no secret, so it has PKCE and a key of its own (DPoP) instead. */
export function bankWebClient(origin: string) {
  return {
    client_id: 'bank-web',
    client_name: 'Stepgate Bank',
    redirect_uris: [`${origin}/callback`],
    post_logout_redirect_uris: [`${origin}/`],
    dpop_bound_access_tokens: true,
  } as const satisfies ClientMetadata
}
