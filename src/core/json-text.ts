const stringPattern = /"[^"\\]*(?:\\.[^"\\]*)*"/g

/**
 * Whether every object of a JSON text has members with different names (RFC 7493 §2.3). Where a name stands twice, parsers
 * differ in which one counts, so two of them could read different payments out of the same bytes (RFC 8259 §4).
 *
 * @param text a valid JSON text
 * @param value what it was parsed to
 */
export function hasUniqueNames(text: string, value: unknown): boolean {
  // Outside of strings a JSON text has one colon a member, and of equal members one survives parsing.
  const colons = text.replace(stringPattern, '').split(':').length - 1
  return countMembers(value) === colons
}

function countMembers(value: unknown): number {
  let count = 0
  const values = [value]
  // A list that grows while it is walked, because a text may be nested deeper than the stack.
  for (const next of values) {
    if (typeof next !== 'object' || next === null) continue
    const inner = Object.values(next)
    if (!Array.isArray(next)) count += inner.length
    for (const member of inner) values.push(member)
  }
  return count
}
