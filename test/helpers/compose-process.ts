import { once } from 'node:events'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { ExternalServer } from './external-server.js'
import { RedisServer } from './redis-server.js'

/** What a container runs: a command in a folder, with these variables of the environment, PATH, and no others. */
export interface ContainerProcess {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  readonly command: readonly string[]
}

/** The whole command line, which sets folder and environment itself. */
export function commandLine({ folder, environment, command: [program, ...parameters] }: ContainerProcess): string[] {
  const variables = Object.entries({ PATH: process.env['PATH'], ...environment }).map(
    ([name, value]) => `${name}=${value}`,
  )
  const path = program === 'node' ? process.execPath : (program as string)
  return ['env', '--ignore-environment', `--chdir=${folder}`, ...variables, path, ...parameters]
}

/** A container's process. It serves as soon as its port accepts a connection. */
class ComposeProcess extends ExternalServer {
  constructor(port: number, container: ContainerProcess) {
    super({ port, command: commandLine(container), stopSignal: 'SIGTERM' })
  }

  protected serves(): Promise<boolean> {
    return accepts(this.port)
  }
}

/** Starts a container's process, which listens on this port. At the end of the test it is killed. */
export async function startProcess(t: Test, port: number, container: ContainerProcess): Promise<ExternalServer> {
  const server = new ComposeProcess(port, container)
  t.teardown(() => server.kill())
  await server.start()
  return server
}

/** A Redis that may ask for a password, so that only its user can say whether it answers. */
export class RedisWithPassword extends RedisServer {
  protected override serves(): Promise<boolean> {
    return accepts(this.port)
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
