/**
 * What one caller may send, and how long that may take. Everything else that arrives over HTTP is bounded by these: the depth
 * of a JSON text and the number of its members by the size of the body, the number of header fields by their size.
 */
export const httpLimits = {
  /** Request line and header fields together, and again the trailer fields: 431. */
  headerBytes: 16_384,
  /** One parameter of a path, decoded: 414. */
  pathParameterLength: 100,
  /** 413. No content coding is decoded, so nothing unpacks to more. */
  bodyBytes: 16_384,
  /** From the first byte of a request to the last of its header fields: 408. */
  headersTimeoutMs: 10_000,
  /** From the first byte of a request to the last of its body: 408. */
  requestTimeoutMs: 10_000,
  /** How often requests past their time are looked for, and so how much later they may be found. */
  timeoutCheckIntervalMs: 2000,
  /** For how long nothing may move on a connection during an exchange, such as a client that does not read: it is cut. */
  silenceTimeoutMs: 30_000,
  /** For how long a connection may wait for its next request; longer than a load balancer's usual 60 s. */
  keepAliveTimeoutMs: 72_000,
  /** 0 is no limit: Node would answer a request beyond one with a 503 in a form of its own. */
  requestsPerConnection: 0,
  /** Requests of a connection behind the one that is being answered; it is cut at more. */
  pipelinedRequests: 100,
  /** Open connections of a process; more are closed at once. */
  connections: 10_000,
} as const

/** The same, as options of Node's HTTP servers. */
export const nodeHttpLimits = {
  maxHeaderSize: httpLimits.headerBytes,
  headersTimeout: httpLimits.headersTimeoutMs,
  requestTimeout: httpLimits.requestTimeoutMs,
  connectionsCheckingInterval: httpLimits.timeoutCheckIntervalMs,
  keepAliveTimeout: httpLimits.keepAliveTimeoutMs,
  // Whatever NODE_OPTIONS say.
  insecureHTTPParser: false,
} as const
