import { randomUUID } from 'node:crypto'

/**
 * A UUID that begins with the time (RFC 9562 §5.7, version 7), so that transfers booked together lie together on disk: a
 * commit writes every page that it touched. It tells no more than `bookedAt`, and 74 bits are random.
 */
export function makeTransferId(nowMs: number): string {
  const time = nowMs.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
