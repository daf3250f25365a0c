import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

/**
 * autocannon in the place of wrk: takes a URL, a file of requests, the position of the first, the expected status and a number
 * of seconds, and prints what wrk.lua prints.
 */
const [url, path, first, expectedStatus, seconds] = process.argv.slice(2)
const requests = readRequests(readFileSync(path, 'latin1'))
let position = Number(first)

const result = await autocannon({
  url,
  connections: 64,
  duration: Number(seconds),
  requests: [
    {
      setupRequest: (defaults) => {
        position += 1
        return { ...defaults, ...requests[(position - 1) % requests.length] }
      },
    },
  ],
})
const answered = result.requests.total
const expected = result.statusCodeStats[expectedStatus]?.count ?? 0
const unexpected = answered - expected + result.errors
console.log(`RESULT ${answered} ${Math.round(result.duration * 1e6)} ${unexpected} ${position}`)

function readRequests(text) {
  const found = []
  for (let start = 0; start < text.length; ) {
    const lineEnd = text.indexOf('\n', start)
    const end = lineEnd + 1 + Number(text.slice(start, lineEnd))
    found.push(parseRequest(text.slice(lineEnd + 1, end)))
    start = end
  }
  return found
}

function parseRequest(text) {
  const headEnd = text.indexOf('\r\n\r\n')
  const [line, ...fields] = text.slice(0, headEnd).split('\r\n')
  const [method, path] = line.split(' ')
  const headers = Object.fromEntries(fields.map((field) => field.split(': ')))
  return { method, path, headers, body: text.slice(headEnd + 4) }
}
