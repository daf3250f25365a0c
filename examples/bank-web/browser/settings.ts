/** What the server wrote into the page's head. */
function readMeta(name: string): string {
  const content = document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content
  if (!content) throw new Error(`the page says nothing of its ${name}`)
  return content
}

export const apiUrl = readMeta('stepgate-api')
export const issuer = readMeta('stepgate-issuer')
export const clientId = readMeta('stepgate-client')
export const redirectUri = new URL('/callback', location.origin).href

export const readScope = 'read:accounts'
/** The app knows that a transfer needs this one, and that a standard login does not give it. */
export const transferScope = 'transfer:funds'
