import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A way to a server that breaks where a test wants it to. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  /** Cuts the next connection that sends COMMIT: before the server gets it, or when the server has answered. */
  cutAtCommit(when: "before" | "after"): void;
  /** How often the server has answered, and was ready for the next message: one for each round trip. */
  readonly answers: number;
  /** Cuts all connections, and refuses new ones until told otherwise. */
  isDown: boolean;
}

/** The beginning of ReadyForQuery: its type, and its length of 5. */
const readyForQuery = Buffer.from([0x5a, 0, 0, 0, 5]);

function countOf(part: Buffer, whole: Buffer): number {
  let count = 0;
  for (let at = whole.indexOf(part); at !== -1; at = whole.indexOf(part, at + 1)) count += 1;
  return count;
}

export async function openCuttingProxy(serverPort: number): Promise<CuttingProxy> {
  let cut: "before" | "after" | undefined;
  let isDown = false;
  let answers = 0;
  const sockets = new Set<Socket>();

  const server = createServer((client) => {
    if (isDown) {
      client.destroy();
      return;
    }
    const upstream = connect(serverPort, "127.0.0.1");
    let isCutting = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (data) => {
      const moment = cut;
      // Of a message's text, the end: BEGIN has an isolation level in it.
      if (moment && /commit\0/i.test(data.toString("latin1"))) {
        cut = undefined;
        if (moment === "before") {
          client.destroy();
          return;
        }
        isCutting = true;
      }
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      answers += countOf(readyForQuery, data);
      // The answer to COMMIT names it. With postgres.js, one to what came before can arrive by itself.
      if (isCutting && data.includes("COMMIT\0")) client.destroy();
      else client.write(data);
    });
  });

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as { readonly port: number }; // `as`: a TCP server's address
  return {
    port: address.port,
    cutAtCommit: (when) => {
      cut = when;
    },
    get answers() {
      return answers;
    },
    get isDown() {
      return isDown;
    },
    set isDown(value) {
      isDown = value;
      if (isDown) for (const socket of sockets) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
