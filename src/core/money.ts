/** Largest amount and balance, in minor units: 18 digits, which every store holds exactly. */
export const maxMinorUnits = 999_999_999_999_999_999n

const decimalPattern = /^(0|[1-9][0-9]{0,14})(?:\.([0-9]+))?$/

/**
 * Reads a decimal string such as `123.50` into minor units, or returns undefined when its form is wrong, it has more
 * decimals than the currency, or it passes 18 digits. Zero is read; whether it is allowed is the caller's matter.
 */
export function parseAmount(amount: string, digits: number): bigint | undefined {
  const match = decimalPattern.exec(amount)
  if (match === null) return undefined
  const fraction = match[2] ?? ''
  if (fraction.length > digits) return undefined
  const minorUnits = BigInt(`${match[1]}${fraction.padEnd(digits, '0')}`)
  return minorUnits > maxMinorUnits ? undefined : minorUnits
}

/** Writes minor units as a decimal string with exactly the currency's digits; negative amounts get a minus sign. */
export function formatAmount(minorUnits: bigint, digits: number): string {
  const sign = minorUnits < 0n ? '-' : ''
  const text = (minorUnits < 0n ? -minorUnits : minorUnits).toString().padStart(digits + 1, '0')
  return digits === 0 ? `${sign}${text}` : `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`
}
