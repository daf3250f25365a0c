const maxCharacters = 2048
// Resolves relative references only; no request ever goes there.
const base = 'http://relative.invalid'

/**
 * The path and query that a person may be sent back to within the same web app, or undefined when the value is anything else: an
 * address of another site in any spelling that browsers follow (`//host`, `/\host`, `https:host`, dot segments that leave
 * `//host`, an encoded slash or backslash in front), a control character, a space, a character beyond ASCII, more than 2048
 * characters (RFC 9700 §4.11: no open redirectors). Give it the value as the query parser hands it over, decoded once. The
 * answer has its dot segments resolved and no fragment, and may stand in `Location` as it is. Does not know which pages
 * the app has, and does not look for addresses inside the query.
 */
export function toReturnPath(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > maxCharacters || !/^\/(?!\/)[!-[\]-~]*$/.test(value)) return undefined
  const { pathname, search } = new URL(value, base)
  return /^\/(?:\/|%2f|%5c)/i.test(pathname) ? undefined : pathname + search
}
