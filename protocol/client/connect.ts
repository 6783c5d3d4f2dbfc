/** The one file of this room that knows sockets: an `NbdClient` over TCP or a unix socket. */

import { connect } from 'node:net'
import { NbdClient } from './client.ts'

export type ServerPlace = { readonly host: string; readonly port: number } | { readonly path: string }

/** Resolves when the handshake has begun. Rejects with `DISCONNECTED` (the cause is the system's error) or `PROTOCOL`. */
export async function connectNbd(place: ServerPlace): Promise<NbdClient> {
  const socket = 'path' in place ? connect(place.path) : connect({ ...place, noDelay: true })
  let failure: Error | undefined
  const client = new NbdClient({
    write(pieces) {
      socket.cork()
      for (const piece of pieces) socket.write(piece)
      // What is asked in one turn of the loop leaves together.
      process.nextTick(() => socket.uncork())
    },
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  })
  socket.on('data', (bytes: Buffer) => client.push(bytes))
  socket.on('error', (error) => (failure = error))
  socket.on('close', () => client.gone(failure))
  await client.ready
  return client
}
