import { bareQuery, bareQueryVerify, bareSingleQuery, bareStatic, haproxy, stepgate } from './candidates.js'
import { type Results, ratiosOf, type Spread, spreadOf } from './results.js'

const width = 760
const barHeight = 22
const rowHeight = 34
const left = 310
const right = 110
const top = 64
const unauthenticated = [bareStatic, bareQuery, bareSingleQuery].map(({ name }) => name)

/**
 * The chart of the case `hot` as SVG: each authenticating candidate's requests a second as a part of what Fastify does with the same answer
 * and no authentication. Light or dark as the reader prefers, without fonts from elsewhere.
 */
export function drawChart(results: Results): string {
  const bars = barsOf(results)
  const height = top + bars.length * rowHeight + 88
  const scale = (width - left - right) / Math.max(1, ...bars.map(({ ratio }) => ratio.most))
  const rows = bars.map(({ name, ratio, own }, index) => {
    const y = top + index * rowHeight
    const [start, end] = [left + ratio.least * scale, left + ratio.most * scale].map(round)
    return `<g>
  <text class="name" x="${left - 10}" y="${y + 15}">${escapeText(name)}</text>
  <rect class="${own ? 'own' : 'other'}" x="${left}" y="${y}" width="${round(ratio.median * scale)}" height="${barHeight}" rx="2"/>
  <path class="spread" d="M${start} ${y + barHeight / 2}H${end}"/>
  <text x="${round(left + ratio.most * scale + 8)}" y="${y + 15}">${ratio.median.toFixed(2)}</text>
</g>`
  })
  const sentences = bars.map(({ name, ratio }) => `${name} ${ratio.median.toFixed(2)}`)
  const axis = round(left + scale)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">
<title id="title">Requests a second with a verified access token, as a part of the same answer without authentication</title>
<desc id="description">${escapeText(sentences.join('; '))}.</desc>
<style>
svg { background: #ffffff; font: 13px system-ui, sans-serif }
text { fill: #1f2328 }
.name { text-anchor: end }
.heading { font-size: 15px; font-weight: 600 }
.small { font-size: 11px; fill: #59636e }
.own { fill: #0969da }
.other { fill: #a8b1bb }
.spread { stroke: #1f2328; stroke-width: 1.5 }
.axis { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 }
text { fill: #f0f6fc }
.small { fill: #9198a1 }
.own { fill: #4493f8 }
.other { fill: #59636e }
.spread { stroke: #f0f6fc }
.axis { stroke: #9198a1 }
}
</style>
<text class="heading" x="16" y="26">GET /accounts, one token: part of the same answer without authentication</text>
<path class="axis" d="M${axis} ${top - 12}V${height - 82}"/>
<text class="small" x="${axis}" y="${top - 18}" text-anchor="middle">1.00</text>
${rows.join('\n')}
${footnotes(results, bars)
  .map((line, index) => `<text class="small" x="16" y="${height - 60 + index * 16}">${escapeText(line)}</text>`)
  .join('\n')}
</svg>
`
}

function barsOf({ cases }: Results): { name: string; ratio: Spread; own: boolean }[] {
  const hot = cases.find(({ name }) => name === 'hot')
  if (hot === undefined) throw new Error('the chart needs the case hot')
  const bars = hot.measured.flatMap(({ name, baseline }) => {
    if (baseline === undefined || unauthenticated.includes(name)) return []
    const ratios = ratiosOf(hot, { candidate: name, baseline, figure: 'requests/s' })
    return ratios === undefined ? [] : [{ name, ratio: spreadOf(ratios), own: name === stepgate.name }]
  })
  return bars.sort((one, other) => other.ratio.median - one.ratio.median)
}

function footnotes({ machine, load, rounds, cases }: Results, bars: readonly { name: string }[]): string[] {
  const inMemory = bars.some(({ name }) => name === haproxy.name)
  const cold = cases.find(({ name }) => name === 'cold-rs256')
  const comparison = { candidate: stepgate.name, baseline: bareQueryVerify.name, figure: 'requests/s' } as const
  const coldRatios = cold && ratiosOf(cold, comparison)
  return [
    `${machine}; ${load}`,
    `Median of rounds: ${rounds}; thin line: least to most.${inMemory ? ' HAProxy answers from memory, all others query SQLite.' : ''}`,
    'stepgate and "cache: true" remember that they verified this token; the others verify it each time.',
    ...(coldRatios === undefined
      ? []
      : [`stepgate, new tokens: ${spreadOf(coldRatios).median.toFixed(2)} of ${bareQueryVerify.name}.`]),
  ]
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
