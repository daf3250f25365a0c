const deadlineMs = 5000
const maxDocumentBytes = 262_144

/**
 * Fetches a JSON document of the authorization server within limits: five seconds for the whole document, 256 KiB after decompression,
 * no redirects (the target of one could plant keys). Throws on anything but a 200 with JSON.
 */
export async function fetchJson(url: string): Promise<unknown> {
  const abort = new AbortController()
  const late = new DOMException(`${url} did not answer within ${deadlineMs} ms`, 'TimeoutError')
  // Races beside the abort signal, which Node's fetch may let go of once the header fields have arrived.
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(late)
      abort.abort(late)
    }, deadlineMs)
  })
  try {
    return await Promise.race([fetchWithin(url, abort.signal), deadline])
  } finally {
    clearTimeout(timer)
  }
}

async function fetchWithin(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: 'error', headers: { accept: 'application/json' }, signal })
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    length += chunk.byteLength
    if (length > maxDocumentBytes) throw new Error(`${url} answered more than ${maxDocumentBytes} bytes`)
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}
