import { generateKeyPair } from 'oauth4webapi'

const databaseName = 'bank-web'
const storeName = 'keys'
const keyName = 'dpop'

/**
 * The key pair that this browser's tokens are bound to (RFC 9449). It has to outlive the way to the authorization server
 * and back, so it is kept in IndexedDB, which stores a CryptoKey without showing it: a script can use the private key as
 * long as it runs here, and cannot take it away. All tabs share one.
 */
export async function obtainKeyPair(): Promise<CryptoKeyPair> {
  const candidate = await generateKeyPair('ES256', { extractable: false })
  const database = await openDatabase()
  try {
    // One transaction, so that two tabs that start together end up with the same key.
    const store = database.transaction(storeName, 'readwrite').objectStore(storeName)
    const known: CryptoKeyPair | undefined = await resultOf(store.get(keyName))
    if (known === undefined) await resultOf(store.put(candidate, keyName))
    return known ?? candidate
  } finally {
    database.close()
  }
}

/** Forgets the key. Another tab that has it in memory keeps it as long as it is open. */
export async function forgetKeyPair(): Promise<void> {
  const database = await openDatabase()
  try {
    await resultOf(database.transaction(storeName, 'readwrite').objectStore(storeName).delete(keyName))
  } finally {
    database.close()
  }
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(databaseName, 1)
  request.onupgradeneeded = () => request.result.createObjectStore(storeName)
  return resultOf(request)
}

function resultOf<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}
