import { ValidationErrorsIBAN, validateIBAN } from 'ibantools'

/**
 * Whether the text is an IBAN in electronic form (ISO 13616): upper case, no spaces, a known country with its length and
 * structure, right check digits. Does not judge a country's own checksum inside the account number, which IBAN leaves
 * to the bank that holds the account.
 */
export function isIban(text: string): boolean {
  const { errorCodes } = validateIBAN(text)
  return errorCodes.every((code) => code === ValidationErrorsIBAN.WrongAccountBankBranchChecksum)
}
