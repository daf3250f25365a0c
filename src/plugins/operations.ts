import { createServer, type Server } from 'node:http'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { nodeHttpLimits } from '../core/http-limits.js'

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

/** Serves `/metrics` and `/health` on loopback, and nothing else. It is no part of the API and asks for no token. */
export function listenForAdmin(port: number, view: AdminView): Promise<Server> {
  const server = createServer(nodeHttpLimits, (request, response) => {
    answer(request.url, view).then(
      ({ status, type, body }) => response.writeHead(status, { 'content-type': type }).end(body),
      () => response.writeHead(500).end(),
    )
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

async function answer(
  url: string | undefined,
  view: AdminView,
): Promise<{ status: number; type: string; body: string }> {
  if (url === '/metrics') return { status: 200, type: 'text/plain; version=0.0.4', body: await view.metrics() }
  if (url === '/health') return { status: 200, type: 'application/json', body: JSON.stringify(await view.health()) }
  return { status: 404, type: 'text/plain', body: '/metrics or /health\n' }
}
