import type { Middleware } from './interactions.js'

/**
 * Lets a client pass a step-up challenge on unchanged. RFC 9470 §4 gives `acr_values` and `max_age` to every OAuth
 * client, while oidc-provider takes them only together with the scope `openid`; so that scope is added where it is
 * missing. The client then gets an ID Token that it may ignore. Pushed requests (RFC 9126) have to name `openid`.
 */
export const acceptStepUpParameters: Middleware = (ctx, next) => {
  if (ctx.method !== 'GET' || ctx.path !== '/auth') return next()
  const parameters = new URLSearchParams(ctx.querystring)
  const [scope, ...others] = parameters.getAll('scope')
  const asksForStepUp = parameters.has('acr_values') || parameters.has('max_age')
  // A repeated scope is left as it is, so that oidc-provider refuses it.
  if (asksForStepUp && others.length === 0 && !(scope ?? '').split(' ').includes('openid')) {
    parameters.set('scope', `openid ${scope ?? ''}`.trim())
    ctx.querystring = parameters.toString()
  }
  return next()
}
