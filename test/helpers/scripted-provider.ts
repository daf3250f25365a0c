import type { Test } from 'tap'
import { type Claims, signCompact, TestIssuer } from './test-issuer.js'

/** What the provider puts into its next ID Tokens, in place of what is right. */
interface Script {
  /** Claims to change; undefined leaves one out. */
  claims: Claims
  header: Record<string, unknown>
  /** Signs with a key that is not in the JWK Set, under the name of one that is. */
  foreignKey: boolean
  /** What happens while a code is redeemed. */
  meanwhile: () => Promise<unknown>
}

/**
 * An OpenID provider without pages, over HTTP with real keys: whoever comes is alice, signed in already, and each answer is as the
 * script says. For answers that no sound provider gives; the example authorization server has logins.
 */
export async function startScriptedProvider(t: Test, { clientId }: { clientId: string }) {
  const issuer = await TestIssuer.start()
  t.teardown(() => issuer.stop())
  const foreign = await TestIssuer.start()
  t.teardown(() => foreign.stop())
  const script: Script = { claims: {}, header: {}, foreignKey: false, meanwhile: async () => undefined }
  const nonces = new Map<string, string>()
  /** The authorization requests, in order. */
  const asked: URLSearchParams[] = []

  issuer.override = (request, response) => {
    const url = new URL(request.url as string, issuer.url)
    const answer = (body: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      return true
    }
    switch (url.pathname) {
      case '/.well-known/openid-configuration':
        return answer({
          issuer: issuer.url,
          jwks_uri: `${issuer.url}/jwks`,
          authorization_endpoint: `${issuer.url}/auth`,
          token_endpoint: `${issuer.url}/token`,
          authorization_response_iss_parameter_supported: true,
        })
      case '/auth': {
        asked.push(url.searchParams)
        const back = new URL(url.searchParams.get('redirect_uri') as string)
        const code = `code-${asked.length}`
        nonces.set(code, url.searchParams.get('nonce') as string)
        const state = url.searchParams.get('state') as string
        back.search = new URLSearchParams({ code, state, iss: issuer.url }).toString()
        response.writeHead(303, { location: back.href }).end()
        return true
      }
      case '/token': {
        let form = ''
        request.on('data', (chunk) => {
          form += chunk
        })
        request.on('end', async () => {
          await script.meanwhile()
          const nonce = nonces.get(new URLSearchParams(form).get('code') as string)
          const now = Math.floor(Date.now() / 1000)
          const claims = {
            iss: issuer.url,
            sub: 'alice',
            aud: clientId,
            iat: now,
            exp: now + 300,
            nonce,
            ...script.claims,
          }
          const key = (script.foreignKey ? foreign : issuer).keys.ES256
          const header = { alg: 'ES256', kid: issuer.keys.ES256.kid, ...script.header }
          answer({ access_token: 'any', token_type: 'Bearer', id_token: signCompact(header, claims, key) })
        })
        return true
      }
      default:
        return false
    }
  }
  return { issuer: issuer.url, script, asked }
}
