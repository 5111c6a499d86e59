import { readFileSync } from "node:fs";
import Sqlite from "better-sqlite3";
import type { Transaction } from "graphql-idempotent/sqlite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { orders, type RequestContext, type Tables, type Workshop } from "./orders-schema.ts";
import { type ServerOptions, type StartedServer, startServer } from "./start-server.ts";

/** A document whose requests and answers are real. */
export interface ExecutedPage {
  readonly text: string;
  /** The schema of the page's server: all `graphql` blocks. */
  readonly sdl: string;
  readonly examples: readonly Example[];
}

/** A request of the page and the answer that follows it. */
export interface Example {
  /** The heading above it. */
  readonly heading: string;
  /** The state of the server, from the comment above the request, if there is one. */
  readonly given: string | undefined;
  readonly request: string;
  readonly answer: string;
}

interface Block {
  readonly heading: string | undefined;
  readonly given: string | undefined;
  readonly language: string | undefined;
  readonly text: string;
}

/** @param path from the root of the repository */
export function readPage(path: string): ExecutedPage {
  const text = readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
  const blocks = readBlocks(text);
  const sdl = blocks.flatMap((block) => (block.language === "graphql" ? [block.text] : [])).join("\n");
  return { text, sdl, examples: readExamples(blocks) };
}

function readBlocks(page: string): Block[] {
  return [...page.matchAll(/^#+ (.+)$|(?:^<!-- (.+) -->\n)?^```(\w*)\n([\s\S]*?)^```$/gm)].map(
    ([, heading, given, language, text = ""]) => ({ heading, given, language, text }),
  );
}

function readExamples(blocks: readonly Block[]): Example[] {
  const examples: Example[] = [];
  let heading = "";
  let request: Block | undefined;
  for (const block of blocks) {
    heading = block.heading ?? heading;
    if (block.language !== "http") continue;
    if (request) examples.push({ heading, given: request.given, request: request.text, answer: block.text });
    request = request ? undefined : block;
  }
  return examples;
}

/** Sends the requests of a page, in their order, to a server with its schema, and compares the answers. */
export function testExamples(
  { sdl, examples }: ExecutedPage,
  resolvers: NonNullable<ServerOptions["resolvers"]>,
): void {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startServer({ typeDefs: sdl, resolvers, database: { lockWaitMs: 20, deadlineMs: 500 } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  it.each(examples.map((example, index) => [`example ${index + 1}, ${example.heading}`, example] as const))(
    "shows the answer that a server gives: %s",
    async (_title, { given, request, answer }) => {
      const { start, headers, body } = parseMessage(request);
      expect(start).toBe("POST /graphql");
      const ask = () => server.ask(body, headers);
      const end = given === undefined ? undefined : await givens[given]?.(server, ask);
      expect(end === undefined).toBe(given === undefined);
      const real = await ask();
      await end?.();
      const shown = parseMessage(answer);
      expect(shown.body).toEqual(real.body);
      expect(shown.start).toMatch(`HTTP/1.1 ${real.status} `);
      expect({ "idempotent-replayed": null, "retry-after": null, ...shown.headers }).toEqual({
        "idempotent-replayed": real.headers.get("idempotent-replayed"),
        "retry-after": real.headers.get("retry-after"),
      });
    },
  );
}

/** The parts of an HTTP message. */
function parseMessage(message: string) {
  const [head = "", ...body] = message.split("\n\n");
  const [start = "", ...lines] = head.split("\n");
  const headers = Object.fromEntries(
    lines.map((line) => {
      const [name = "", value = ""] = line.split(/: (.*)/);
      return [name.toLowerCase(), value];
    }),
  );
  return { start, headers, body: JSON.parse(body.join("\n\n")) };
}

type Given = (server: StartedServer, ask: () => Promise<unknown>) => Promise<() => unknown>;

/** Each puts the server into the state that an example's comment names, and returns how to end that state. */
const givens: Readonly<Record<string, Given>> = {
  async "another process holds the lock"({ database }) {
    const other = new Sqlite(database.file);
    other.exec("BEGIN IMMEDIATE");
    return () => other.close();
  },
  async "the stored result was tampered with"({ database }) {
    const other = new Sqlite(database.file);
    other.exec(
      "UPDATE idempotency_records SET payload = '{' WHERE key = 'e2f4d7aa-3c56-4a3f-9d1b-0c54c0a8e5f3'",
    );
    return () => other.close();
  },
  async "the same call is still running"({ workshop }, ask) {
    const { started, release } = workshop.hold();
    const running = ask();
    await started;
    return () => {
      release();
      return running;
    };
  },
};

interface Arguments {
  readonly item?: string;
  readonly input?: { readonly item?: string; readonly quantity?: number };
}

type Context = RequestContext & { readonly tx: Transaction<Tables> };

/**
 * Makes resolvers that write an order, whatever their mutation is called, and answer with what `then` makes of
 * its row.
 */
export function orderCreator(workshop: Workshop) {
  return function creates(then: (row: typeof orders.$inferSelect, args: never) => unknown = (row) => row) {
    return async (_root: unknown, args: Arguments, { customer, tx }: Context) => {
      const { item = args.item ?? "something", quantity = 1 } = args.input ?? {};
      const [row] = await tx.insert(orders).values({ customer: customer.id, item, quantity }).returning();
      await workshop.pass("");
      if (!row) throw new Error("The database returned no row.");
      return then(row, args as never); // `as`: each mutation knows its own arguments
    };
  };
}
