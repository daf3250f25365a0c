/** As IBANs and secrets are printed, so that a person can compare or type them. */
export function inGroupsOfFour(text: string): string {
  return text.replaceAll(/(.{4})(?=.)/g, '$1 ')
}
