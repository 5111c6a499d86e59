import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream";

export interface RoundRobin extends AsyncDisposable {
  readonly url: string;
}

/** Hands each request to the next of the servers that are up. When that one breaks off, so does the answer. */
export async function openRoundRobin(portsUp: () => readonly number[]): Promise<RoundRobin> {
  let turn = 0;
  const server = createServer((incoming, outgoing) => {
    const breakOff = () => void outgoing.destroy();
    const ports = portsUp();
    const port = ports[turn++ % ports.length];
    if (port === undefined) return breakOff();
    const { method, url: path, headers } = incoming;
    const forwarded = request({ port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode as number, answer.headers); // `as`: an answer has one
      pipeline(answer, outgoing, () => {}); // of two that break, the other is destroyed
    });
    forwarded.on("error", breakOff);
    outgoing.on("close", () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // `as`: it listens on TCP
  return {
    url: `http://127.0.0.1:${port}/graphql`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
