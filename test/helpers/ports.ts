import { once } from 'node:events'
import { connect } from 'node:net'

/**
 * A port for a server that goes down and comes back. It is below those that Linux hands out by itself, so nobody gets it
 * meanwhile, and no client that tries it in vain is connected to itself.
 */
export async function findLastingPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const socket = connect(port, '127.0.0.1')
    const taken = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (!taken) return port
  }
}
