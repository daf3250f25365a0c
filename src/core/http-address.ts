/** Scheme and authority without user information, then a path of printable ASCII; each "%" begins an escape. */
const addressPattern = /^https?:\/\/[\w.~!$&'()*+,;=:[\]%-]+(?:\/[\x21-\x5b\x5d-\x7e]*)?$/i
const oddEscape = /%(?![0-9a-f]{2})/i
const escapePattern = /%[0-9a-f]{2}/gi

/**
 * Normalises an http or https address without its query and fragment, by syntax and scheme (RFC 3986 §6.2.2, §6.2.3): case of
 * scheme, host and escapes, escapes of unreserved characters, dot segments, default port, empty path. Returns undefined for what is
 * none, such as a relative reference or one with user information. Does not decode reserved characters: "%2F" is no slash.
 */
export function normalizeAddress(text: string): string | undefined {
  const end = text.search(/[?#]/)
  const address = end === -1 ? text : text.slice(0, end)
  if (!addressPattern.test(address) || oddEscape.test(address)) return undefined
  const unescaped = address.replaceAll(escapePattern, (sequence) => {
    const character = String.fromCharCode(Number.parseInt(sequence.slice(1), 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : sequence.toUpperCase()
  })
  if (!URL.canParse(unescaped)) return undefined
  const { origin, pathname } = new URL(unescaped)
  return origin + pathname
}

/** The path of a request target in origin or absolute form (RFC 9112 §3.2), as it stands there; what host that names is nobody's matter. */
export function pathOf(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*/, '')
}
