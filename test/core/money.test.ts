import fc from 'fast-check'
import t from 'tap'
import { currencyDigits } from '#src/core/currencies.js'
import { isIban } from '#src/core/iban.js'
import { formatAmount, maxMinorUnits, parseAmount } from '#src/core/money.js'
import { parseOpeningAccounts } from '#src/core/opening-accounts.js'

t.test('amounts are read exactly or not at all', async (t) => {
  const cases: [string, number, bigint | undefined][] = [
    ['0', 2, 0n],
    ['0.00', 2, 0n],
    ['0.01', 2, 1n],
    ['1', 2, 100n],
    ['1.5', 2, 150n],
    ['123.50', 2, 12_350n],
    ['0.1', 3, 100n],
    ['0.0001', 4, 1n],
    ['7', 0, 7n],
    ['999999999999999', 2, 99_999_999_999_999_900n],
    ['999999999999999.999', 3, maxMinorUnits],
    ['99999999999999.9999', 4, maxMinorUnits],
    ['100000000000000', 4, undefined],
    ['9999999999999999', 0, undefined],
    ['1.234', 2, undefined],
    ['1.0', 0, undefined],
    ['1.', 2, undefined],
    ['.5', 2, undefined],
    ['01', 2, undefined],
    ['00.1', 2, undefined],
    ['-1', 2, undefined],
    ['+1', 2, undefined],
    ['1e3', 2, undefined],
    ['0x10', 2, undefined],
    ['1,5', 2, undefined],
    [' 1', 2, undefined],
    ['1\n', 2, undefined],
    ['', 2, undefined],
    ['NaN', 2, undefined],
    ['١', 2, undefined],
  ]
  for (const [text, digits, expected] of cases) t.equal(parseAmount(text, digits), expected, `${text} with ${digits}`)
})

t.test('amounts are written with exactly the digits of the currency', async (t) => {
  const cases: [bigint, number, string][] = [
    [0n, 2, '0.00'],
    [1n, 2, '0.01'],
    [-1n, 2, '-0.01'],
    [-12_350n, 2, '-123.50'],
    [5n, 0, '5'],
    [-5n, 0, '-5'],
    [0n, 0, '0'],
    [1n, 4, '0.0001'],
    [maxMinorUnits, 3, '999999999999999.999'],
    [-maxMinorUnits, 2, '-9999999999999999.99'],
  ]
  for (const [minorUnits, digits, expected] of cases) t.equal(formatAmount(minorUnits, digits), expected)
  fc.assert(
    fc.property(fc.bigInt(0n, 99_999_999_999_999_999n), fc.constantFrom(2, 3, 4), (minorUnits, digits) => {
      return parseAmount(formatAmount(minorUnits, digits), digits) === minorUnits
    }),
  )
})

t.test('ISO 4217', async (t) => {
  const cases: [string, number | undefined][] = [
    ['EUR', 2],
    ['HUF', 2],
    ['JPY', 0],
    ['KWD', 3],
    ['CLF', 4],
    ['ZWG', 2],
    ['XAU', undefined],
    ['XXX', undefined],
    ['XTS', undefined],
    ['ZZZ', undefined],
    ['DEM', undefined],
    ['eur', undefined],
    ['', undefined],
    [' ', undefined],
    ['constructor', undefined],
  ]
  for (const [code, digits] of cases) t.equal(currencyDigits(code), digits, JSON.stringify(code))
})

t.test('ISO 13616: electronic form with right check digits', async (t) => {
  const cases: [string, boolean][] = [
    ['DE89370400440532013000', true],
    ['GB33BUKB20201555555555', true],
    ['FR1420041010050500013M02606', true],
    ['NO9386011117947', true],
    ['DE88370400440532013000', false],
    ['DE89370400440532013001', false],
    ['DE8937040044053201300', false],
    ['de89370400440532013000', false],
    ['DE89 3704 0044 0532 0130 00', false],
    ['XX89370400440532013000', false],
    ['DE', false],
    ['', false],
  ]
  for (const [iban, expected] of cases) t.equal(isIban(iban), expected, JSON.stringify(iban))
  t.equal(isIban('NO8330001234567'), true, 'a country’s own checksum is left to the bank that holds the account')
})

t.test('opening accounts', async (t) => {
  const account = { owner: 'alice', iban: 'DE89370400440532013000', name: 'Current', currency: 'EUR', balance: '12.5' }
  const other = { ...account, iban: 'GB33BUKB20201555555555', currency: 'JPY', balance: '3' }

  const third = { ...account, iban: 'FR1420041010050500013M02606' }

  t.test('are parsed into minor units', async (t) => {
    t.strictSame(parseOpeningAccounts(JSON.stringify([account, other])), {
      accounts: [
        { subject: 'alice', iban: account.iban, name: 'Current', currency: 'EUR', balanceMinorUnits: 1250n },
        { subject: 'alice', iban: other.iban, name: 'Current', currency: 'JPY', balanceMinorUnits: 3n },
      ],
    })
    t.strictSame(parseOpeningAccounts('[]'), { accounts: [] })
  })

  const faulty: [string, string | object, RegExp[]][] = [
    ['no JSON', '{', [/^expected JSON$/]],
    ['no array', account, [/^expected an array of accounts$/]],
    ['null', 'null', [/^expected an array of accounts$/]],
    ['a member that is no object', [1], [/^\[0\]: ./]],
    ['an unknown member', [{ ...account, bic: 'X' }], [/^\[0\]: ./]],
    ['no owner', [{ ...account, owner: undefined }], [/^\[0\]\.owner: expected 1 to 255 characters$/]],
    ['an empty owner', [{ ...account, owner: '' }], [/^\[0\]\.owner: expected 1 to 255 characters$/]],
    ['a long owner', [{ ...account, owner: 'x'.repeat(256) }], [/^\[0\]\.owner: expected 1 to 255 characters$/]],
    ['an empty name', [{ ...account, name: '' }], [/^\[0\]\.name: expected 1 to 140 characters$/]],
    ['a wrong IBAN', [account, { ...other, iban: 'GB1' }], [/^\[1\]\.iban: expected an IBAN in upper case/]],
    ['an IBAN as a number', [{ ...account, iban: 1 }], [/^\[0\]\.iban: expected an IBAN$/]],
    ['an unknown currency', [{ ...account, currency: 'ZZZ' }], [/^\[0\]\.currency: expected an ISO 4217/]],
    ['a currency as a number', [{ ...account, currency: 1 }], [/^\[0\]\.currency: expected a currency code$/]],
    ['a balance as a number', [{ ...account, balance: 1 }], [/^\[0\]\.balance: expected a decimal string$/]],
    [
      'a negative balance',
      [{ ...account, balance: '-1' }],
      [/^\[0\]\.balance: expected a decimal string with the digits of EUR/],
    ],
    ['decimals in yen', [account, { ...other, balance: '1.5' }], [/^\[1\]\.balance: .* JPY/]],
    ['an IBAN twice', [account, other, account], [/^\[2\]\.iban: the IBAN stands twice$/]],
    [
      'several faults at once',
      [{ ...account, owner: 1, currency: 'X' }, other, { ...third, name: 1 }],
      [/^\[0\]\.currency/, /^\[0\]\.owner/, /^\[2\]\.name/],
    ],
    [
      'an IBAN twice beside another fault',
      [account, account, { ...other, name: 1 }],
      [/^\[1\]\.iban: the IBAN stands twice$/, /^\[2\]\.name/],
    ],
  ]
  for (const [name, document, patterns] of faulty) {
    t.test(`${name} is named by its place`, async (t) => {
      const result = parseOpeningAccounts(typeof document === 'string' ? document : JSON.stringify(document))
      const faults = 'faults' in result ? result.faults.toSorted() : []
      t.equal(faults.length, patterns.length, faults.join('; '))
      for (const [index, pattern] of patterns.entries()) t.match(faults[index], pattern)
    })
  }
})
