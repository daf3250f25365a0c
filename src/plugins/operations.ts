import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { httpLimits, nodeHttpLimits } from '../core/http-limits.js'

/** What the admin listener shows. */
export interface AdminView {
  /** Prometheus text format. */
  metrics(): Promise<string>
  /** Health details, as JSON. */
  health(): Promise<unknown>
}

/** A number that is read when metrics are asked for. */
export interface GaugeOptions {
  help: string
  read: () => number
  /** What a primary process shows of its workers' numbers. */
  ofWorkers: 'sum' | 'min' | 'max'
}

export interface OperationsOptions {
  /** Details that become gauges, by name. */
  gauges: Readonly<Record<string, GaugeOptions>>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The process's metrics. */
    metrics: Registry
  }
}

/** Counts requests by route, status and problem, and reads gauges when asked. Registered only when there is an admin listener. */
export default fp(
  async (app: FastifyInstance, { gauges }: OperationsOptions) => {
    const registry = new Registry()
    // Lets a primary process collect this worker's metrics; changes nothing in a process of its own.
    AggregatorRegistry.setRegistries(registry)
    new AggregatorRegistry()
    collectDefaultMetrics({ register: registry })
    const requests = new Counter({
      name: 'stepgate_requests_total',
      help: 'Requests by route pattern, status and problem.',
      labelNames: ['method', 'route', 'status', 'problem'],
      registers: [registry],
    })
    for (const [name, { help, read, ofWorkers }] of Object.entries(gauges)) {
      new Gauge({
        name,
        help,
        aggregator: ofWorkers,
        registers: [registry],
        collect() {
          this.set(read())
        },
      })
    }
    app.decorate('metrics', registry)
    app.addHook('onResponse', (request, reply, done) => {
      const route = request.routeOptions.url ?? 'none'
      requests.inc({ method: request.method, route, status: reply.statusCode, problem: reply.problem ?? 'none' })
      done()
    })
  },
  { name: 'operations', fastify: '5.x', dependencies: ['problem'] },
)

/** For a primary process: returns the function that collects the metrics of all workers, in Prometheus text format. */
export function collectFromWorkers(): () => Promise<string> {
  const registry = new AggregatorRegistry()
  return () => registry.clusterMetrics()
}

/**
 * Serves `/metrics` and `/health` on loopback, and nothing else. It is no part of the API and asks for no token. The limits are the API's,
 * but for pipelining; bodies are refused (413).
 */
export function listenForAdmin(port: number, view: AdminView): Promise<Server> {
  const server = createServer(nodeHttpLimits, (request, response) => {
    answer(request, view).then(
      ({ status, type, body }) => {
        // Node would read the rest of a refused body otherwise.
        if (status === 413) response.setHeader('connection', 'close')
        response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body)
      },
      () => response.writeHead(500).end(),
    )
  })
  server.timeout = httpLimits.silenceTimeoutMs
  server.maxConnections = httpLimits.connections
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

async function answer(
  { url, headers }: IncomingMessage,
  view: AdminView,
): Promise<{ status: number; type: string; body: string }> {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  if (length !== '0' || coding !== undefined)
    return { status: 413, type: 'text/plain', body: 'no body is taken here\n' }
  if (url === '/metrics') return { status: 200, type: 'text/plain; version=0.0.4', body: await view.metrics() }
  if (url === '/health') return { status: 200, type: 'application/json', body: JSON.stringify(await view.health()) }
  return { status: 404, type: 'text/plain', body: '/metrics or /health\n' }
}
