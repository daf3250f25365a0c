import type { Redis } from 'ioredis'

const connectTimeoutMs = 500
/** A connection that is silent for this long although something was asked is given up, since the server may be frozen. */
const socketTimeoutMs = 1000
const longestRetryDelayMs = 500

/**
 * Opens a client that never queues: without a connection every command fails at once, and a command whose answer is lost is
 * not sent again. Connects in the background and keeps trying. ioredis is loaded on demand, as few processes need it.
 *
 * @param url `redis://` or, with TLS, `rediss://`
 */
export async function openRedisClient(url: string): Promise<Redis> {
  // By its default export: a CommonJS package has no other once it is bundled.
  const { default: ioredis } = await import('ioredis')
  return new ioredis.Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: connectTimeoutMs,
    socketTimeout: socketTimeoutMs,
    connectionName: 'stepgate',
    // A server that was demoted without closing its connections takes no claims: the next connection finds the new one.
    reconnectOnError: ({ message }) => message.startsWith('READONLY'),
    retryStrategy: (attempt) => Math.min(attempt * 50, longestRetryDelayMs),
  })
}
