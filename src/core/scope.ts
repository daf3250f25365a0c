/** Claims that may carry scopes, and the JSON types each may have. */
export type ScopeClaim = 'scope' | 'scp' | 'permissions'

const scopeTokenPattern = /^[\x21\x23-\x5b\x5d-\x7e]+$/
const scopeListPattern = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/
const maxScopes = 200

/**
 * The union of the scopes in the claims named. Returns undefined when a claim is present with a type or a form that
 * RFC 6749 §3.3 does not allow: `scope` is a string, `scp` a string or an array, `permissions` an array. A claim that is
 * absent adds nothing. Scopes are compared byte for byte, so look-alike characters never match.
 */
export function readScopes(
  claims: Readonly<Record<string, unknown>>,
  scopeClaims: readonly ScopeClaim[],
): ReadonlySet<string> | undefined {
  const scopes = new Set<string>()
  for (const name of scopeClaims) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined
    if (value === undefined) continue
    const granted = readScopeClaim(name, value)
    if (granted === undefined || granted.length > maxScopes) return undefined
    for (const scope of granted) scopes.add(scope)
  }
  return scopes
}

function readScopeClaim(name: ScopeClaim, value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') {
    return name !== 'permissions' && scopeListPattern.test(value) ? value.split(' ') : undefined
  }
  if (name === 'scope' || !Array.isArray(value)) return undefined
  return value.every((scope) => typeof scope === 'string' && scopeTokenPattern.test(scope)) ? value : undefined
}
