import { drizzle } from "drizzle-orm/better-sqlite3";
import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import {
  type IdempotentOptions,
  idempotent,
  type Once,
  type OnceOptions,
  once,
  type Retention,
  SHARED,
  type Store,
  type TransactionContext,
} from "graphql-idempotent";
import { type Database, openDatabase, sqliteStore, type Transaction } from "graphql-idempotent/sqlite";
import { assertType, describe, expectTypeOf, it } from "vitest";
import { entries, type Tables, type Tx, tables } from "./stores/sqlite/entries-database.ts";

const payments = sqliteTable("payments", { amount: integer("amount").notNull() });
const otherTables = { payments };
type OtherTables = typeof otherTables;
type OtherTx = Transaction<OtherTables>;

interface Context {
  readonly customer: { readonly id: string };
}

declare const store: Store<Tx>;
declare const database: Database<Tables>;
declare const call: OnceOptions;

describe("idempotent()", () => {
  it("takes a scope that is a function of the context, or SHARED", () => {
    idempotent({ store, scope: SHARED });
    idempotent({ store, scope: ({ customer }: Context) => customer.id });
    idempotent({ store, scope: async ({ customer }: Context) => customer.id });
  });

  it("refuses a missing scope, a constant one, and one that gives no string", () => {
    // @ts-expect-error: scope is required
    idempotent({ store });
    // @ts-expect-error: a constant scope is one for all clients
    idempotent({ store, scope: "alice" });
    // @ts-expect-error: a customer without an ID has no scope
    idempotent({ store, scope: (context: { customer?: { id: string } }) => context.customer?.id });
    // @ts-expect-error: a number is no scope
    idempotent({ store, scope: (context: { id: number }) => context.id });
    // @ts-expect-error: not every symbol is SHARED
    idempotent({ store, scope: Symbol("SHARED") });
  });

  it("refuses a scope and a header of another context", () => {
    // @ts-expect-error: the context has no tenant
    idempotent<Context, Tx>({ store, scope: (context: { tenant: string }) => context.tenant });
    const scope = ({ customer }: Context) => customer.id;
    const header = (context: { headers: Headers }) => context.headers.get("idempotency-key");
    // @ts-expect-error: the context has no headers
    idempotent<Context, Tx>({ store, scope, header });
  });

  it("refuses a missing store, another thing for a store, and a store of another schema", () => {
    // @ts-expect-error: store is required
    idempotent({ scope: SHARED });
    // @ts-expect-error: a database is no store
    idempotent({ store: database, scope: SHARED });
    // @ts-expect-error: the store's transactions are of other tables
    assertType<IdempotentOptions<Context, OtherTx>>({ store, scope: SHARED });
  });

  it("refuses unknown options and other words", () => {
    // @ts-expect-error: there is no ttl
    idempotent({ store, scope: SHARED, ttl: "24h" });
    // @ts-expect-error: there is one word for it
    idempotent({ store, scope: SHARED, requireOn: "all" });
  });
});

describe("the context of a protected resolver", () => {
  it("has a transaction of the schema", () => {
    expectTypeOf<TransactionContext<Tx>["tx"]>().toEqualTypeOf<Tx>();
    expectTypeOf<Tx["query"]>().toHaveProperty("entries");
    expectTypeOf<Tx["query"]>().not.toHaveProperty("payments");
  });

  it("is refused to a resolver that wants a transaction of another schema", () => {
    const resolver = (_context: TransactionContext<OtherTx>) => 1;
    const context = {} as TransactionContext<Tx>; // `as`: only its type counts here
    // @ts-expect-error: the tables are others
    resolver(context);
  });

  it("is refused to a resolver that would write by a handle of its own", () => {
    const resolver = (_context: TransactionContext<Tx>) => 1;
    // @ts-expect-error: a database is no transaction of a call
    resolver({ tx: drizzle(":memory:", { schema: tables }) });
  });
});

describe("once()", () => {
  it("gives the type of its result, and the transaction of its store", () => {
    expectTypeOf(once(store, call, () => 1)).toEqualTypeOf<Promise<Once<number>>>();
    expectTypeOf(once(store, call, async () => "a")).toEqualTypeOf<Promise<Once<string>>>();
    once(store, call, (tx) => {
      expectTypeOf(tx).toEqualTypeOf<Tx>();
    });
  });

  it("refuses a transaction of another schema", () => {
    // @ts-expect-error: the tables are others
    once(store, call, (_tx: OtherTx) => 1);
    // @ts-expect-error: the store has no payments
    once(store, call, (tx) => tx.query.payments.findFirst());
  });

  it("refuses a missing scope, field or key, unknown options, and other words", () => {
    const run = () => 1;
    // @ts-expect-error: scope is required
    once(store, { field: "a", key: "a" }, run);
    // @ts-expect-error: field is required
    once(store, { scope: SHARED, key: "a" }, run);
    // @ts-expect-error: key is required
    once(store, { scope: SHARED, field: "a" }, run);
    // @ts-expect-error: there is no ttl
    once(store, { scope: SHARED, field: "a", key: "a", ttl: 1 }, run);
    // @ts-expect-error: WAIT or REJECT
    once(store, { scope: SHARED, field: "a", key: "a", concurrent: "wait" }, run);
    // @ts-expect-error: a whole number and a unit
    assertType<Retention>("1 day");
    assertType<Retention>("30d");
  });
});

describe("a database", () => {
  it("writes nothing outside a transaction", () => {
    const { db } = database;
    expectTypeOf(db.select().from(entries).all()).toEqualTypeOf<{ id: number; text: string }[]>();
    // @ts-expect-error: read only
    db.insert;
    // @ts-expect-error: read only
    db.update;
    // @ts-expect-error: read only
    db.delete;
    // @ts-expect-error: read only
    db.run;
    // @ts-expect-error: transactions belong to calls
    db.transaction;
    // @ts-expect-error: the connection is its own
    db.$client;
    const recent = db.$with("recent").as(db.select().from(entries));
    db.with(recent).select().from(recent);
    // @ts-expect-error: read only, also behind WITH
    db.with(recent).insert;
    // @ts-expect-error: read only, also behind WITH
    db.with(recent).update;
    // @ts-expect-error: read only, also behind WITH
    db.with(recent).delete;
  });

  it("gives writes without a key a transaction of its schema", () => {
    expectTypeOf(database.write((tx) => tx.$count(entries))).resolves.toBeNumber();
    // @ts-expect-error: the tables are others
    database.write((_tx: OtherTx) => 1);
  });

  it("refuses a missing schema, unknown options, and other words", () => {
    expectTypeOf(openDatabase("a.db", { schema: tables })).toEqualTypeOf<Database<Tables>>();
    // @ts-expect-error: schema is required
    openDatabase("a.db", {});
    // @ts-expect-error: there is no wal
    openDatabase("a.db", { schema: tables, wal: true });
    // @ts-expect-error: one of four words
    openDatabase("a.db", { schema: tables, synchronous: "full" });
  });

  it("makes a store of its own schema", () => {
    expectTypeOf(sqliteStore(database)).toEqualTypeOf<Store<Tx>>();
    // @ts-expect-error: there is no ttl
    sqliteStore(database, { ttl: 1 });
    // @ts-expect-error: the tables are others
    assertType<Store<OtherTx>>(sqliteStore(database));
  });
});
