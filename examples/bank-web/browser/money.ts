/** An amount as the API writes it: a decimal string with exactly the currency's digits. */
export interface Money {
  readonly currency: string
  readonly amount: string
}

/** How many digits the currency has after the point. The API always writes all of them, so no table is needed. */
export function digitsOf({ amount }: Money): number {
  return amount.split('.')[1]?.length ?? 0
}

/** Writes an amount the way the reader's language does. `Intl` takes the string itself, so nothing passes through a float. */
export function formatMoney(money: Money, sign: 'negative' | 'exceptZero' = 'negative'): string {
  const digits = digitsOf(money)
  return new Intl.NumberFormat(undefined, {
    style: 'currency',
    currency: money.currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: sign,
  }).format(money.amount as Intl.StringNumericLiteral)
}

/** What stands before the decimals in the reader's language; a point is understood too, unless it groups thousands there. */
function decimalMarks(): string[] {
  const parts = new Intl.NumberFormat(undefined, { useGrouping: true }).formatToParts(1234567.5)
  const mark = (type: string) => parts.find((part) => part.type === type)?.value ?? ''
  return mark('group') === '.' ? [mark('decimal')] : [mark('decimal'), '.']
}

/** An amount as typed: as the API wants it, or what is wrong with it, in words. */
export type TypedAmount = { readonly amount: string } | { readonly fault: string }

/**
 * Reads an amount that a person typed, for a currency with so many digits. Spaces are dropped. It never guesses: a mark
 * that could be one of thousands is a fault, since "1,250" must not become 1.25.
 */
export function readAmount(typed: string, digits: number): TypedAmount {
  const text = typed.replaceAll(/\s/g, '')
  if (text === '') return { fault: 'Enter an amount.' }
  const mark = decimalMarks().find((candidate) => text.includes(candidate))
  const [whole = '', fraction, ...rest] = mark === undefined ? [text] : text.split(mark)
  if (!/^\d+$/.test(whole) || rest.length > 0 || (fraction !== undefined && !/^\d+$/.test(fraction))) {
    const example = `1250${digits === 0 ? '' : `${decimalMarks()[0]}${'50'.padEnd(digits, '0').slice(0, digits)}`}`
    return { fault: `Write the amount as a plain number, such as ${example}.` }
  }
  if (fraction !== undefined && fraction.length > digits) {
    const most = digits === 0 ? 'no decimals' : `at most ${digits} decimal${digits === 1 ? '' : 's'}`
    return { fault: `This currency has ${most}.` }
  }
  const plainWhole = whole.replace(/^0+(?=\d)/, '')
  if (plainWhole.length > 15) return { fault: 'This amount is too large.' }
  const amount = digits === 0 ? plainWhole : `${plainWhole}.${(fraction ?? '').padEnd(digits, '0')}`
  return /[1-9]/.test(amount) ? { amount } : { fault: 'Enter an amount above zero.' }
}

/** Whether one amount is more than another of the same currency. */
export function isMore(amount: string, than: Money): boolean {
  const digits = digitsOf(than)
  const minorUnits = (text: string) => {
    const [whole = '', fraction = ''] = text.split('.')
    return BigInt(whole + fraction.padEnd(digits, '0'))
  }
  return minorUnits(amount) > minorUnits(than.amount)
}
