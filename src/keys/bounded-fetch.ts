const deadlineMs = 5000
const maxDocumentBytes = 262_144

/**
 * Fetches a JSON document of the authorization server within limits: five seconds in all, 256 KiB after decompression,
 * no redirects (the target of one could plant keys). Throws on anything but a 200 with JSON.
 */
export async function fetchJson(url: string): Promise<unknown> {
  const response = await fetch(url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(deadlineMs),
  })
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
