import { LedgerUnavailable, OutcomeUnknown } from '../ledger.js'

/** The database cannot be used until its operator acts; the message says what to do. */
export class UnusableDatabase extends Error {
  override readonly name = 'UnusableDatabase'
}

/** SQLSTATE of an error that the server reported; undefined when the connection failed instead. */
function sqlState(error: unknown): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  return typeof severity === 'string' ? String(code) : undefined
}

/** What is known after a group of orders failed. */
export interface BookingFault {
  fault: unknown
  /** The server refused the statement, so it was rolled back and the connection is sound. Otherwise it may have committed. */
  isRefused: boolean
  /** One order may be to blame, or a lock that one of them waited for: the others would pass without it. */
  mayPassAlone: boolean
}

/** Turns what went wrong after orders were sent into what is known about them. */
export function explainBooking(error: unknown): BookingFault {
  const state = sqlState(error)
  if (state === undefined || !isStatementError(state, error)) {
    const fault = new OutcomeUnknown('the connection to PostgreSQL broke while transfers were booked', { cause: error })
    return { fault, isRefused: false, mayPassAlone: false }
  }
  const fault = isUnavailability(state) ? new LedgerUnavailable('PostgreSQL could not book', { cause: error }) : error
  return { fault, isRefused: true, mayPassAlone: /^(?:2[0-9A-F]|40|55P03|SG)/.test(state) && state !== '25006' }
}

/** Whether a fault says that an idempotency key is held by a request that is still running. */
export function isKeyInUse(fault: unknown): boolean {
  return (fault as { code?: unknown }).code === 'SG001'
}

/** Turns what went wrong while reading or connecting into `LedgerUnavailable`, unless the statement itself was wrong. */
export function explainReading(error: unknown): unknown {
  const state = sqlState(error)
  return state === undefined || !isStatementError(state, error) || isUnavailability(state)
    ? new LedgerUnavailable('PostgreSQL is out of reach or busy', { cause: error })
    : error
}

/**
 * Whether only the statement failed and the server lives on. The severity is compared too, but it can be translated. Class 28,
 * a user or password that is refused, is none of a statement: it says that there is no connection.
 */
function isStatementError(state: string, error: unknown): boolean {
  return (error as { severity?: unknown }).severity === 'ERROR' || /^(?:2[0-79A-F]|40|42|55|57014|SG)/.test(state)
}

/** Whether the same order may succeed later: conflict, shortage, lock or statement timeout, read-only standby, fault of the server. */
function isUnavailability(state: string): boolean {
  return /^(?:08|25|40|53|55|57|58|XX)/.test(state)
}

/** Puts a failure to prepare the database into an operator's words where waiting cannot mend it. */
export function explainPreparing(error: unknown): unknown {
  const state = sqlState(error)
  if (state === '28P01' || state === '28000') return new UnusableDatabase('the database refuses the user or password')
  // What pg says when a server wants a password and the URL has none.
  if (/client password must be a string/.test(String(error)))
    return new UnusableDatabase('the database asks for a password')
  if (state === '3D000') return new UnusableDatabase('the database does not exist')
  if (state === '42501')
    return new UnusableDatabase(
      'the user may not create or change the schema stepgate: grant create on the database, or let it own the schema',
    )
  return error
}
