import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import Sqlite from "better-sqlite3";
import { GraphQLError, GraphQLScalarType } from "graphql";
import {
  type ExternalContext,
  IdempotencyError,
  type IdempotencyErrorCode,
  idempotent,
} from "graphql-idempotent";
import { sqliteStore, type Transaction } from "graphql-idempotent/sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpOf } from "../src/protocol.ts";
import { orders, type RequestContext, type Tables } from "./orders-schema.ts";
import { openOrders, type ServerOptions, type StartedServer, startServer } from "./start-server.ts";

const page = readFileSync(new URL("../PROTOCOL.md", import.meta.url), "utf8");

/** A request of the page, with the answer that follows it. */
interface Example {
  /** The heading under which it stands. */
  readonly heading: string;
  /** What the comment before it says of the server's state, if there is one. */
  readonly given: string | undefined;
  readonly request: string;
  readonly answer: string;
}

const blocks = [...page.matchAll(/^#+ (.+)$|(?:^<!-- (.+) -->\n)?^```(http|graphql)\n([\s\S]*?)^```$/gm)].map(
  ([, heading, given, language, text = ""]) => ({ heading, given, language, text }),
);

const sdl = blocks.flatMap(({ language, text }) => (language === "graphql" ? [text] : [])).join("\n");

function readExamples(): Example[] {
  const examples: Example[] = [];
  let heading = "";
  let request: (typeof blocks)[number] | undefined;
  for (const block of blocks) {
    heading = block.heading ?? heading;
    if (block.language !== "http") continue;
    if (request) examples.push({ heading, given: request.given, request: request.text, answer: block.text });
    request = request ? undefined : block;
  }
  return examples;
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

const resolvers: NonNullable<ServerOptions["resolvers"]> = (database, workshop) => {
  type Arguments = {
    readonly item?: string;
    readonly input?: { item?: string; quantity?: number; amount?: number };
  };
  type Protected = RequestContext & { readonly tx: Transaction<Tables> };

  /** Writes an order, whatever the mutation is called, and answers as the schema of the page wants it. */
  function creates(then: (row: typeof orders.$inferSelect, args: never) => unknown = (row) => row) {
    return async (_root: unknown, args: Arguments, { customer, tx }: Protected) => {
      const { item = args.item ?? "something", quantity = 1 } = args.input ?? {};
      const [row] = await tx.insert(orders).values({ customer: customer.id, item, quantity }).returning();
      await workshop.pass("");
      if (!row) throw new Error("The database returned no row.");
      return then(row, args as never); // `as`: each mutation knows its own arguments
    };
  }

  return {
    Upload: new GraphQLScalarType({ name: "Upload", parseValue: upload, parseLiteral: upload }),
    Query: { orders: () => database.db.select().from(orders) },
    Mutation: {
      createOrder: creates(),
      waitForEver: () => new Promise(() => {}),
      uploadPhoto: creates(),
      createReport: creates(() => ({ total: () => 1 })),
      transferFunds: creates(({ id }, { input: { amount } }: { input: { amount: number } }) => ({
        id,
        amount,
      })),
      placeOrder: creates((order) => ({ order })),
      requestCode: creates(() => true),
      recordVisit: creates(({ id }, { sentAt }: { sentAt: string }) => ({ id, sentAt })),
      async payOrder(
        _root: unknown,
        { cardToken }: { cardToken: string },
        { idempotency }: RequestContext & ExternalContext<Transaction<Tables>>,
      ) {
        const charge = await idempotency.step("charge", () => {
          if (cardToken === "tok_visa") return { id: "ch_1", status: "PAID" };
          throw new GraphQLError("The card was declined.", { extensions: { code: "CARD_DECLINED" } });
        });
        return charge;
      },
      exportOrders: creates(),
      issueInvoice: creates(() => {
        throw new GraphQLError("An invoice has this number.", {
          extensions: { code: "INVOICE_NUMBER_TAKEN" },
        });
      }),
      subscribe: creates(({ id }, { email }: { email: string }) => ({ id, email })),
    },
  };
};

const upload = () => Readable.from(["hello"]);

let server: StartedServer;
beforeAll(async () => {
  server = await startServer({ typeDefs: sdl, resolvers, database: { lockWaitMs: 20, deadlineMs: 500 } });
});
afterAll(() => server[Symbol.asyncDispose]());

/** Brings about what an example's comment says, and returns how to end it. */
const givens: Record<string, (ask: () => Promise<unknown>) => Promise<() => unknown>> = {
  async "another process holds the lock"() {
    const other = new Sqlite(server.database.file);
    other.exec("BEGIN IMMEDIATE");
    return () => other.close();
  },
  async "the stored result was tampered with"() {
    const other = new Sqlite(server.database.file);
    other.exec(
      "UPDATE idempotency_records SET payload = '{' WHERE key = 'e2f4d7aa-3c56-4a3f-9d1b-0c54c0a8e5f3'",
    );
    return () => other.close();
  },
  async "the same call is still running"(ask) {
    const { started, release } = server.workshop.hold();
    const running = ask();
    await started;
    return () => {
      release();
      return running;
    };
  },
};

describe("PROTOCOL.md", () => {
  const examples = readExamples();

  it.each(examples.map((example, index) => [`example ${index + 1}, ${example.heading}`, example] as const))(
    "shows the answer that a server gives: %s",
    async (_title, { given, request, answer }) => {
      const { start, headers, body } = parseMessage(request);
      expect(start).toBe("POST /graphql");
      const ask = () => server.ask(body, headers);
      const end = given === undefined ? undefined : await givens[given]?.(ask);
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

  // A code that is missing here, or is none, doesn't compile.
  const codes = Object.keys({
    IDEMPOTENCY_KEY_MISSING: true,
    IDEMPOTENCY_KEY_INVALID: true,
    IDEMPOTENCY_KEY_PARAMETER_MISMATCH: true,
    IDEMPOTENCY_KEY_EXPIRED: true,
    IDEMPOTENCY_CONCURRENT_REQUEST: true,
    IDEMPOTENCY_STORE_UNAVAILABLE: true,
    IDEMPOTENCY_DEADLINE_EXCEEDED: true,
    IDEMPOTENCY_ARGUMENT_UNSUPPORTED: true,
    IDEMPOTENCY_RESULT_UNSTORABLE: true,
    IDEMPOTENCY_RECORD_UNREADABLE: true,
  } satisfies Record<IdempotencyErrorCode, true>) as IdempotencyErrorCode[]; // `as`: keys() says only string

  it.each(codes)(
    "tells status and advice of %s as they are, explains it, and has an example of it",
    (code) => {
      const { retryable, safeToUseNewKey } = Object(new IdempotencyError(code, "").extensions.idempotency);
      const link = `[${code}](#${code.toLowerCase()})`;
      expect(page).toContain(`| ${link} | ${httpOf(code)?.status} | ${retryable} | ${safeToUseNewKey} |`);
      expect(page).toContain(`### ${code}\n`);
      expect(examples.some(({ answer }) => answer.includes(`"${code}"`))).toBe(true);
    },
  );

  it("has a section with an example for every argument of the directive", async () => {
    await using database = await openOrders();
    const { typeDefs } = idempotent({ store: sqliteStore(database), scope: () => "", clientDirective: true });
    const names = [...typeDefs.matchAll(/^ {2}(\w+): .+$/gm)].map(([, name = ""]) => name);
    expect(names).toHaveLength(9);
    for (const name of names) {
      expect(page).toContain(`### ${name}\n`);
      expect(examples.some(({ heading }) => heading === name)).toBe(true);
      const written = new RegExp(`@idempotent\\(${name}: `);
      expect(name === "key" ? page : sdl).toMatch(written);
    }
  });
});
