const deadlineMs = 5000
const maxDocumentBytes = 262_144

/**
 * Fetches a JSON document of the authorization server within limits: five seconds for the whole document, 256 KiB after
 * decompression, no redirects (the target of one could plant keys). Throws on anything but a 200 with JSON.
 */
export async function fetchJson(url: string): Promise<unknown> {
  const abort = new AbortController()
  const late = new DOMException(`${url} did not answer within ${deadlineMs} ms`, 'TimeoutError')
  const timer = setTimeout(() => abort.abort(late), deadlineMs)
  try {
    return await fetchWithin(url, abort.signal)
  } finally {
    clearTimeout(timer)
  }
}

async function fetchWithin(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: 'error', headers: { accept: 'application/json' }, signal })
  const reader = response.body?.getReader()
  // Beside the signal, because Node's fetch may let go of it once the header fields have arrived. Where it has not, the body
  // is broken by then and cancelling it rejects, which is of no interest.
  signal.addEventListener('abort', () => void Promise.allSettled([reader?.cancel()]))
  if (response.status !== 200 || reader === undefined) {
    await reader?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const chunks: Uint8Array[] = []
  let length = 0
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    length += part.value.byteLength
    if (length > maxDocumentBytes) {
      await reader.cancel()
      throw new Error(`${url} answered more than ${maxDocumentBytes} bytes`)
    }
    chunks.push(part.value)
  }
  signal.throwIfAborted()
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}
