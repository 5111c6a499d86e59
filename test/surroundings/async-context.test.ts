import { setTimeout as sleep } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { type OnceOptions, once, onceExternal } from "graphql-idempotent";
import {
  type Database,
  type DatabaseOptions,
  idempotencyRecords,
  openDatabase,
  sqliteStore,
  type Transaction,
} from "graphql-idempotent/sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  attackAsCustomers,
  type ContextLibrary,
  contextLibraries,
  misnamed,
  type Order,
  startOrders,
} from "./async-context.ts";

const orders = sqliteTable("orders", {
  id: integer("id").primaryKey(),
  customer: text("customer").notNull(),
  item: text("item").notNull(),
});
const tables = { orders, idempotencyRecords };
type Tx = Transaction<typeof tables>;

const createTables = [
  "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, item TEXT NOT NULL)",
  `CREATE TABLE idempotency_records (scope TEXT NOT NULL, field TEXT NOT NULL, key TEXT NOT NULL,
     fingerprint TEXT NOT NULL, resource_id TEXT, format TEXT NOT NULL, payload TEXT NOT NULL,
     created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, lease_until INTEGER, fencing_token INTEGER,
     PRIMARY KEY (key, field, scope))`,
].join(";");

let library: ContextLibrary;
let database: Database<typeof tables>;

function open(options: Partial<DatabaseOptions<typeof tables>> = {}): void {
  database = openDatabase(undefined, {
    schema: tables,
    ...options,
    configure(connection) {
      if (!connection.readonly) connection.exec(createTables);
      connection.function("customer", { deterministic: false }, () => library.customer() ?? null);
    },
  });
}

afterEach(async () => {
  await database.close();
  library.close();
});

const customers = ["ann", "bob", "cleo", "dan"];

/** Each customer's work, all at once, each in its own context; what each got. */
function all<Result>(work: (customer: string) => Promise<Result>): Promise<Result[]> {
  return Promise.all(customers.map((customer) => library.runAs(customer, () => work(customer))));
}

function callOf(customer: string, more: Partial<OnceOptions> = {}): OnceOptions {
  return { scope: customer, field: "order", key: "1", ...more };
}

function insert(tx: Tx, { customer, item }: Order) {
  return tx.insert(orders).values({ customer, item });
}

class Tagged {
  readonly customer: string;
  constructor(customer: string) {
    this.customer = customer;
  }
}

describe.each(Object.keys(contextLibraries).filter((name) => !name.endsWith("enterWith")))(
  "with %s",
  (name) => {
    beforeEach(() => {
      library = (contextLibraries[name] as () => ContextLibrary)(); // `as`: it is one of the names
    });

    const store = () => sqliteStore(database, { purgeEveryMs: 0 });
    const here = () => library.customer();

    /** Code of a user's, by the place that calls it, and what it finds there. */
    const places: Record<string, () => Promise<unknown[]>> = {
      "database.write": () => all(() => database.write(() => here())),
      "database.write, after it has awaited something": () =>
        all(() =>
          database.write(async () => {
            await sleep(1);
            return here();
          }),
        ),
      "store.write": () => all(() => store().write(here)),
      "a thenable that the work returns": () =>
        all(() =>
          database.write(
            () =>
              // biome-ignore lint/suspicious/noThenProperty: queries of Drizzle are such thenables
              ({ then: (resolve: (value: unknown) => void) => resolve(here()) }) as Promise<unknown>, // `as`: it has all that `await` asks for
          ),
        ),
      "an SQL function": () =>
        all((customer) =>
          database.write((tx) => {
            insert(tx, { customer, item: "x" }).run();
            return (tx.get(sql`SELECT customer() AS name`) as { name: unknown }).name; // `as`: see the query
          }),
        ),
      "once()": () => {
        const shared = store();
        return all(async (customer) => (await once(shared, callOf(customer), () => here() ?? null)).result);
      },
      "once(), when all use one key, and the one before has failed": () => {
        const shared = store();
        return all((customer) =>
          once(shared, { scope: "all", field: "order", key: "1", input: 1 }, () => {
            throw new Error(`${here()}`);
          }).then(
            () => customer,
            (error: Error) => error.message,
          ),
        );
      },
      "encode() of a type": () => {
        const shared = store();
        const types = {
          Tagged: {
            class: Tagged,
            encode: () => here() ?? null,
            decode: (name: unknown) => new Tagged(String(name)),
          },
        };
        return all(async (customer) => {
          const { result } = await once(shared, callOf(customer, { types }), () => new Tagged("nobody"));
          return result.customer;
        });
      },
      "decode() of a type, in a replay": async () => {
        const shared = store();
        const types = {
          Tagged: { class: Tagged, encode: () => null, decode: () => new Tagged(String(here())) },
        };
        const ask = (customer: string) =>
          once(shared, callOf(customer, { types }), () => new Tagged("nobody")).then(
            ({ result }) => result.customer,
          );
        await all(ask);
        return all(ask);
      },
      "write() and step() of a call with effects elsewhere": async () => {
        const shared = store();
        const found = await all(
          async (customer) =>
            (
              await onceExternal(shared, callOf(customer), async (call) => [
                await call.step("step", () => here() ?? null),
                await call.write("write", () => here() ?? null),
                here() ?? null,
              ])
            ).result,
        );
        expect(found.map((names) => new Set(names).size)).toEqual(customers.map(() => 1));
        return found.map(([first]) => first);
      },
      "a retry that another customer's call kept waiting": () => {
        return all((customer) =>
          database.write(async () => {
            if (customer === "ann") await sleep(20);
            return here();
          }),
        );
      },
      "a call that waited for another process": async () => {
        const other = new Sqlite(database.file);
        other.exec("BEGIN IMMEDIATE");
        const found = all(() => database.write(() => here()));
        await sleep(10);
        other.close();
        return found;
      },
    };

    it.each(Object.keys(places))("the customer's own context is found in %s", async (place) => {
      open();
      // `as`: it is one of the names
      await expect((places[place] as () => Promise<unknown[]>)()).resolves.toEqual(customers);
    });

    it("Drizzle's logger runs in the context of the call whose query it logs", async () => {
      const seen: [unknown, unknown][] = [];
      open({ logger: { logQuery: (_query, parameters) => seen.push([parameters[0], library.customer()]) } });
      await all((customer) => database.write((tx) => insert(tx, { customer, item: "returned" })));
      await all((customer) =>
        database.write(async (tx) => {
          await insert(tx, { customer, item: "awaited" });
        }),
      );
      expect(seen).toHaveLength(8);
      for (const [inserted, found] of seen) expect(found).toBe(inserted);
    });

    it("the clock runs in the context of the call whose time it tells", async () => {
      open();
      const asked: unknown[] = [];
      const now = () => {
        asked.push(here());
        return Date.now();
      };
      const shared = sqliteStore(database, { purgeEveryMs: 0, now });
      const kinds: ((customer: string) => Promise<unknown>)[] = [
        (customer) => once(shared, callOf(customer), () => 1),
        (customer) => once(shared, callOf(customer), () => 2), // a replay
        (customer) => onceExternal(shared, callOf(customer, { key: "2" }), (call) => call.step("a", () => 1)),
        () => shared.purge(),
      ];
      for (const kind of kinds) {
        asked.length = 0;
        await all(kind);
        const counts = customers.map((customer) => asked.filter((name) => name === customer).length);
        expect(counts[0]).toBeGreaterThan(0);
        expect(counts).toEqual(customers.map(() => asked.length / customers.length));
      }
    });

    it("what goes on after a call goes on in the context of its caller", async () => {
      open();
      const shared = store();
      const found = await all(async (customer) => {
        await database.write((tx) => insert(tx, { customer, item: "a" }));
        const afterWrite = here();
        await once(shared, callOf(customer), () => null);
        const afterCall = here();
        await once(shared, callOf(customer), () => null);
        await database.write(() => Promise.reject(new Error("no"))).catch(() => {});
        return [afterWrite, afterCall, here()];
      });
      expect(found).toEqual(customers.map((customer) => [customer, customer, customer]));
    });

    it("what a call makes of its context is seen by no other call", async () => {
      open();
      const found = await all((customer) =>
        database.write(() => (customer === "ann" ? library.runAs("mallory", here) : here())),
      );
      expect(found).toEqual(["mallory", "bob", "cleo", "dan"]);
    });
  },
);

describe("enterWith() in the work of one call", () => {
  it("is not seen by the calls behind it, nor by the loop", async () => {
    library = (contextLibraries["AsyncLocalStorage.enterWith"] as () => ContextLibrary)(); // `as`: it is one
    open();
    const first = database.write(() => library.runAs("mallory", () => library.customer()));
    const others = [1, 2, 3].map(() => database.write(() => library.customer() ?? "nobody"));
    expect(await Promise.all([first, ...others])).toEqual(["mallory", "nobody", "nobody", "nobody"]);
  });
});

describe("sixteen customers at once, over HTTP", () => {
  it.each(Object.entries(contextLibraries))(
    "get no order in another's name, nor a trace of one: %s",
    async (_name, openLibrary) => {
      library = openLibrary();
      open();
      const store = sqliteStore(database, { purgeEveryMs: 0 });
      await using shop = await startOrders(
        { store, insert: async (tx: Tx, order) => insert(tx, order) },
        library,
      );
      const attack = await attackAsCustomers(shop.url);
      const made = database.db.select().from(orders).all();
      expect(misnamed(made)).toEqual([]);
      expect(attack.findings).toEqual([]);
      expect(made).toHaveLength(attack.orders);
    },
  );
});
