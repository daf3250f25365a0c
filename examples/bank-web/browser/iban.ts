/** An IBAN as typed: in the electronic form of ISO 13616, or what is wrong with it, in words. */
export type TypedIban = { readonly iban: string } | { readonly fault: string }

/** Reads an IBAN: spaces and lower case are fine, form and check digits must be right. The API knows each country's rules. */
export function readIban(typed: string): TypedIban {
  const iban = typed.replaceAll(/\s/g, '').toUpperCase()
  if (iban === '') return { fault: 'Enter the IBAN of the account that gets the money.' }
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$/.test(iban)) {
    return { fault: 'An IBAN has two letters, two digits, and 11 to 30 letters or digits.' }
  }
  return remainderBy97(iban) === 1n ? { iban } : { fault: 'The check digits do not match. Is there a typing error?' }
}

/** ISO 7064, MOD 97-10: the first four characters go to the end, and letters count from A = 10. */
function remainderBy97(iban: string): bigint {
  const moved = iban.slice(4) + iban.slice(0, 4)
  return BigInt(moved.replaceAll(/[A-Z]/g, (letter) => String(letter.charCodeAt(0) - 55))) % 97n
}

/** In groups of four, as IBANs are printed. */
export function formatIban(iban: string): string {
  return iban.replaceAll(/(.{4})(?=.)/g, '$1 ')
}
