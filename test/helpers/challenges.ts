/** One `WWW-Authenticate` field line, parsed. */
export interface ParsedChallenge {
  scheme: string
  /** In the order of the line, so that the order can be tested. */
  parameters: [name: string, value: string][]
}

/** Takes apart the field lines that fetch has joined, Bearer's before DPoP's. */
export function splitChallenges(joined: string | null): string[] {
  return joined === null ? [] : joined.split(/, (?=DPoP )/)
}

const parameterPattern = /^(?:, )?([!#$%&'*+.^_`|~0-9A-Za-z-]+)="((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*)"/

/**
 * Parses one challenge in the one form that this server writes: scheme, one space, `name="quoted string"` pairs joined by comma and
 * space (RFC 9110 §11.6.1, §5.6.4). Throws on a token where a quoted string must be, on two challenges in one line, on a
 * parameter that stands twice, and on a challenge without parameters.
 */
export function parseChallenge(line: string): ParsedChallenge {
  const [, scheme, list] = /^([A-Za-z]+) (.+)$/.exec(line) ?? []
  if (scheme === undefined || list === undefined) throw new Error(`no challenge: ${line}`)
  const parameters: [string, string][] = []
  for (let rest = list; rest !== ''; ) {
    const [whole, name, value] = parameterPattern.exec(rest) ?? []
    if (whole === undefined || name === undefined || value === undefined) throw new Error(`no parameter: ${rest}`)
    if (whole.startsWith(',') !== parameters.length > 0) throw new Error(`a comma is missing or too much: ${line}`)
    if (parameters.some(([earlier]) => earlier === name)) throw new Error(`${name} stands twice: ${line}`)
    parameters.push([name, value.replaceAll(/\\(.)/g, '$1')])
    rest = rest.slice(whole.length)
  }
  return { scheme, parameters }
}
