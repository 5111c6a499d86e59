import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy to a server, which cuts connections when a test tells it to. */
export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  /** Cuts the next connection that sends COMMIT: before the server receives it, or after its answer. */
  cutAtCommit(when: "before" | "after"): void;
  /** Silences the next connection that sends this text, like a stopped server: it neither receives nor sends anything more. */
  silenceAt(text: RegExp): void;
  /** Answers the next message that has this text with an error, instead of the server, which doesn't receive it. */
  refuse(text: RegExp): void;
  /** How often the server has become ready for the next message: once for each round trip. */
  readonly answers: number;
  /** Setting it cuts all connections, and refuses new ones until it is unset. */
  isDown: boolean;
}

/** How the message ReadyForQuery begins: with its type and its length of 5. */
const readyForQuery = Buffer.from([0x5a, 0, 0, 0, 5]);

/** ErrorResponse, and ReadyForQuery in a transaction that goes on. */
const refusal = Buffer.concat([
  message("E", "SERROR\0VERROR\0CXX000\0Mrefused on the way\0\0"),
  message("Z", "T"),
]);

/** A message of the protocol: its type, its length with that of the length itself, its content. */
function message(type: string, content: string): Buffer {
  const buffer = Buffer.from(`${type}....${content}`);
  buffer.writeInt32BE(content.length + 4, 1);
  return buffer;
}

function countOf(part: Buffer, whole: Buffer): number {
  let count = 0;
  for (let at = whole.indexOf(part); at !== -1; at = whole.indexOf(part, at + 1)) count += 1;
  return count;
}

export async function openCuttingProxy(serverPort: number): Promise<CuttingProxy> {
  let cut: "before" | "after" | undefined;
  let silencing: RegExp | undefined;
  let refused: RegExp | undefined;
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
    let isSilent = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        if (!isSilent) client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (data) => {
      const text = data.toString("latin1");
      if (silencing?.test(text)) {
        silencing = undefined;
        isSilent = true;
      }
      if (isSilent) return;
      if (refused?.test(text)) {
        refused = undefined;
        client.write(refusal);
        return;
      }
      const moment = cut;
      // COMMIT at the end of the text only: the text of BEGIN contains "READ COMMITTED".
      if (moment && /commit\0/i.test(text)) {
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
      if (isSilent) return;
      answers += countOf(readyForQuery, data);
      // The answer to COMMIT contains its name. With postgres.js, earlier answers can arrive separately.
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
    silenceAt: (text) => {
      silencing = text;
    },
    refuse: (text) => {
      refused = text;
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
