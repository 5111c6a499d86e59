import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A TCP address that leads now to one server, now to another, as a virtual IP or a proxy does. */
export interface MovingAddress extends AsyncDisposable {
  readonly port: number;
  /** Cuts all connections; new ones go to this port, or nowhere. */
  moveTo(port: number | undefined): void;
}

export async function openMovingAddress(serverPort: number): Promise<MovingAddress> {
  let target: number | undefined = serverPort;
  const sockets = new Set<Socket>();

  const server = createServer({ noDelay: true }, (client) => {
    if (target === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect({ port: target, host: "127.0.0.1", noDelay: true });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => {}); // what follows is its close
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });

  function cut(): void {
    for (const socket of sockets) socket.destroy();
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as { readonly port: number }; // `as`: a TCP server's address
  return {
    port: address.port,
    moveTo(port) {
      target = port;
      cut();
    },
    [Symbol.asyncDispose]: async () => {
      cut();
      server.close();
      await once(server, "close");
    },
  };
}
