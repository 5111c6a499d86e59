import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A TCP address that leads each new connection to wherever its owner says, as a virtual IP or a proxy does. */
export interface Address extends AsyncDisposable {
  readonly port: number;
  /** Cuts all connections. */
  cut(): void;
}

/** `target` tells the port of the server, or that there is none. */
export async function openAddress(target: () => number | undefined): Promise<Address> {
  const sockets = new Set<Socket>();

  const server = createServer({ noDelay: true }, (client) => {
    const port = target();
    if (port === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    lead(client, upstream);
    lead(upstream, client);
  });

  function lead(socket: Socket, other: Socket): void {
    sockets.add(socket);
    socket.on("error", () => {}); // what follows is its close
    socket.on("close", () => {
      sockets.delete(socket);
      other.destroy();
    });
    socket.pipe(other);
  }

  function cut(): void {
    for (const socket of sockets) socket.destroy();
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number }; // `as`: a TCP server's address
  return {
    port,
    cut,
    [Symbol.asyncDispose]: async () => {
      server.close();
      cut();
      await once(server, "close");
    },
  };
}
