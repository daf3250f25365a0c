import type { ChildProcess } from 'node:child_process'
import { type LoadOptions, measureLatency, measureThroughput, quantile } from '../load.js'
import { cpuTimeMs, summarise } from '../processes.js'

/** What is known of a server at one size: values by name. A name ends with its unit, after a comma. */
export type Figures = Record<string, number>

/** One size of what grows, with what measures it once. */
export interface Subject {
  name: string
  measure: () => Promise<Figures>
}

/**
 * Measures the subjects in turn, round after round, and prints each figure: median with minimum and maximum, and its ratio to
 * the first subject that has it, taken within each round.
 */
export async function measureInTurn(subjects: readonly Subject[], rounds: number): Promise<void> {
  const found: Figures[][] = []
  for (let round = 0; round < rounds; round += 1) {
    const figures: Figures[] = []
    for (const { measure } of subjects) figures.push(await measure())
    found.push(figures)
  }
  const names = new Set(found.flat().flatMap(Object.keys))
  for (const figure of names) {
    const [, label, unit] = /^(.+), (.+)$/.exec(figure) as unknown as [string, string, string]
    const of = (subject: number) => found.map((round) => round[subject]?.[figure] as number)
    const base = subjects.findIndex((_, subject) => of(subject)[0] !== undefined)
    console.log(`  ${label}`)
    for (const [subject, { name }] of subjects.entries()) {
      const values = of(subject)
      if (values[0] === undefined) continue
      const ratios = values.map((value, round) => value / (of(base)[round] as number))
      const ratio = subject === base ? '' : `; ratio ${summarise('×', ratios, 2)}`
      console.log(`    ${name}: ${summarise(unit, values, unit === 'ms' ? 2 : 0)}${ratio}`)
    }
  }
}

export interface Measured {
  /** What the requests are, in words. */
  label: string
  server: { port: number; process: ChildProcess }
  requests: readonly Buffer[]
  /** As in `LoadOptions`. */
  expected: string
}

const warmUpShare = 0.1

/** A closed loop: requests a second, and the processor time of the server for each. */
export async function throughput({ label, ...measured }: Measured): Promise<Figures> {
  const [perSecond, cpuMicros] = await measureCpu(measured, measureThroughput)
  return { [`${label}, /s`]: perSecond, [`${label}, processor time each, µs`]: cpuMicros }
}

/** An open loop at a fixed rate: latencies, and the processor time of the server for each request. */
export async function latency({ label, ...measured }: Measured, perSecond: number): Promise<Figures> {
  const [latenciesMs, cpuMicros] = await measureCpu(measured, (load) => measureLatency({ ...load, perSecond }))
  return {
    [`${label}, ${perSecond} a second, p50, ms`]: quantile(latenciesMs, 0.5),
    [`${label}, ${perSecond} a second, p99, ms`]: quantile(latenciesMs, 0.99),
    [`${label}, ${perSecond} a second, processor time each, µs`]: cpuMicros,
  }
}

async function measureCpu<T>(
  { server, requests, expected }: Omit<Measured, 'label'>,
  measure: (load: LoadOptions) => Promise<T>,
): Promise<[T, number]> {
  const beforeMs = cpuTimeMs(server.process)
  const result = await measure({
    port: server.port,
    requests,
    warmUp: Math.round(requests.length * warmUpShare),
    expected,
  })
  return [result, ((cpuTimeMs(server.process) - beforeMs) * 1000) / requests.length]
}
