import t from 'tap'
import { LedgerUnavailable, OutcomeUnknown } from '#src/ledger/ledger.js'
import { explainBooking, explainPreparing, explainReading, UnusableDatabase } from '#src/ledger/postgres/faults.js'

const { DatabaseError } = (await import('pg')).default

/** An error as the driver makes it of what a server reported, whose severity is in the server's language. */
function reported(severity: string, code: string): Error {
  return Object.assign(new DatabaseError('text', 1, 'error'), { severity, code })
}

/** What is known after a booking and after a read, and whether a group's orders may pass one by one. */
function explainAll(error: Error): (string | boolean)[] {
  const { fault, isRefused, mayPassAlone } = explainBooking(error)
  const explained = [fault, explainReading(error)] as Error[]
  for (const { cause } of explained.filter((one) => one !== error))
    t.equal(cause, error, 'the cause is kept for the log')
  const names = explained.map((one) => (one === error ? 'as it is' : one.name))
  t.equal(isRefused, names[0] !== 'OutcomeUnknown', 'a connection is kept when the server merely refused')
  return [...names, mayPassAlone]
}

const undone = ['LedgerUnavailable', 'LedgerUnavailable', false]
const undoneForOne = ['LedgerUnavailable', 'LedgerUnavailable', true]
const unknown = ['OutcomeUnknown', 'LedgerUnavailable', false]
const wrong = ['as it is', 'as it is', false]
const wrongForOne = ['as it is', 'as it is', true]

t.test('a statement that the server refused was undone: whether it may succeed later depends on why', async (t) => {
  const cases: [string, string, (string | boolean)[]][] = [
    ['08P01', 'protocol violation', undone],
    ['25006', 'read-only transaction', undone],
    ['40001', 'serialization failure', undoneForOne],
    ['40P01', 'deadlock', undoneForOne],
    ['53100', 'disk full', undone],
    ['53200', 'out of memory', undone],
    ['53300', 'too many connections', undone],
    ['55P03', 'lock not available', undoneForOne],
    ['57014', 'query cancelled, or a statement timeout', undone],
    ['58030', 'I/O error', undone],
    ['XX001', 'data corrupted', undone],
    ['22003', 'numeric value out of range', wrongForOne],
    ['23505', 'unique violation', wrongForOne],
    ['23514', 'check violation', wrongForOne],
    ['42501', 'insufficient privilege', wrong],
    ['42P01', 'undefined table', wrong],
    ['P0001', 'raised', wrong],
    ['SG001', 'an idempotency key in use', wrongForOne],
  ]
  for (const [code, name, expected] of cases) t.strictSame(explainAll(reported('ERROR', code)), expected, name)
})

t.test('a server that ends the connection or itself leaves open whether it committed', async (t) => {
  for (const severity of ['FATAL', 'PANIC', 'SCHWERWIEGEND', '致命错误']) {
    for (const code of ['57P01', '57P02', '57P03', '53300', '58030', 'XX000', '3D000']) {
      t.strictSame(explainAll(reported(severity, code)), unknown, `${severity} ${code}`)
    }
  }
})

t.test(
  'a translated severity is recognised by codes that only statements have; in doubt nothing is known',
  async (t) => {
    for (const severity of ['FEHLER', 'ERREUR', 'ОШИБКА', '错误']) {
      for (const [expected, codes] of [
        [undone, ['57014', '25006']],
        [undoneForOne, ['40P01', '40001', '55P03']],
        [wrong, ['42P01', '42501']],
        [wrongForOne, ['22003', '23505', 'SG001']],
      ] as const) {
        for (const code of codes) t.strictSame(explainAll(reported(severity, code)), expected, `${severity} ${code}`)
      }
      for (const code of ['53100', '58030', 'XX000']) {
        t.strictSame(explainAll(reported(severity, code)), unknown, `${severity} ${code}`)
      }
    }
  },
)

t.test('a connection that broke leaves open whether it committed, whatever code it has', async (t) => {
  const faults = [
    Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
    Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
    Object.assign(new Error('an address'), { code: '40P01' }),
    new Error('Connection terminated unexpectedly'),
    new Error('Query read timeout'),
    new AggregateError([], ''),
  ]
  for (const fault of faults) t.strictSame(explainAll(fault), unknown, fault.message)
})

t.test(
  'a user or password that is refused while the server runs is an outage, since nothing was asked yet',
  async (t) => {
    for (const code of ['28P01', '28000']) {
      t.type(explainReading(reported('FATAL', code)), LedgerUnavailable, code)
      t.type(explainReading(reported('FATALE', code)), LedgerUnavailable, code)
      t.type(explainBooking(reported('FATAL', code)).fault, OutcomeUnknown, code)
    }
  },
)

t.test('preparing: what only an operator can mend has words of its own, without what the server said', async (t) => {
  const cases: [string, RegExp][] = [
    ['28P01', /^the database refuses the user or password$/],
    ['28000', /^the database refuses the user or password$/],
    ['3D000', /^the database does not exist$/],
    ['42501', /^the user may not create or change the schema stepgate/],
  ]
  for (const severity of ['FATAL', 'ERROR', 'FEHLER']) {
    for (const [code, message] of cases) {
      const explained = explainPreparing(reported(severity, code))
      t.type(explained, UnusableDatabase)
      t.match(explained, { message, cause: undefined })
    }
  }
  for (const other of [reported('FATAL', '57P03'), reported('FATAL', '53300'), new Error('ECONNREFUSED')]) {
    t.equal(explainPreparing(other), other, 'waiting may mend it')
  }
  const withoutPassword = new Error('SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string')
  t.match(explainPreparing(withoutPassword), { message: 'the database asks for a password' })
})
