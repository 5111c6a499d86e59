import { drizzle as drizzleNodePostgres } from "drizzle-orm/node-postgres";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import { once, onceExternal, type Store } from "graphql-idempotent";
import { postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type EmptyDatabase, openEmptyDatabase, tables } from "../../stores/postgres/entries-database.ts";
import { untilWaiting } from "../../stores/postgres/lock-waits.ts";
import type { Tx } from "../../stores/postgres/postgres-suite.ts";
import { held } from "../../stores/store-suite/entries.ts";

// Options that applications give to their driver for the sake of their own rows.

const call = { scope: "alice", field: "entries.add", key: "a key" };
const int8 = 20;
const text = 25;

type Options = postgres.Options<Record<string, postgres.PostgresType>>;
const parser = (from: number, parse: (value: string) => unknown): postgres.PostgresType => ({
  ...{ to: from, from: [from] },
  serialize: String,
  parse,
});

const postgresJsOptions: Record<string, Options> = {
  "transform: camel": { transform: postgres.camel },
  "transform: toCamel": { transform: postgres.toCamel },
  "transform: pascal": { transform: postgres.pascal },
  "transform: kebab": { transform: postgres.kebab },
  "column.from": { transform: { column: { from: (name) => name.toUpperCase() } } },
  "value.from, null to undefined": { transform: { value: { from: (value) => value ?? undefined } } },
  "value.from, null to 0": { transform: { value: { from: (value) => value ?? 0 } } },
  "value.from, another text": {
    transform: { value: { from: (value) => (typeof value === "string" ? value.toUpperCase() : value) } },
  },
  "row.from, a copy": { transform: { row: { from: (row: object) => ({ ...row }) } } },
  "row.from, a frozen row": { transform: { row: { from: (row: object) => Object.freeze(row) } } },
  "transform: undefined": { transform: { undefined: null } },
  "types: bigint as BigInt": { types: { bigint: postgres.BigInt } },
  "types: bigint as Date": { types: { bigint: parser(int8, (value) => new Date(Number(value))) } },
  "types: bigint as NaN": { types: { bigint: parser(int8, () => Number.NaN) } },
  "types: text as null if empty": { types: { text: parser(text, (value) => value || null) } },
  "types: boolean as 0 or 1": { types: { boolean: parser(16, (value) => (value === "t" ? 1 : 0)) } },
  "prepare: false": { prepare: false },
  "fetch_types: false": { fetch_types: false },
};

const nodePostgresTypes: Record<string, Readonly<Record<number, (value: string) => unknown>>> = {
  "bigint as BigInt": { [int8]: BigInt },
  "bigint as Number": { [int8]: Number },
  "bigint as Date": { [int8]: (value) => new Date(Number(value)) },
  "bigint as NaN": { [int8]: () => Number.NaN },
  "text as null if empty": { [text]: (value) => value || null },
  "text as an object": { [text]: (value) => ({ value }) },
  "boolean as 0 or 1": { 16: (value) => (value === "t" ? 1 : 0) },
};

/** What a store must do, whatever its driver's options are. */
function suite(connect: (url: string) => { store: Store<Tx>; end(): Promise<void> }): void {
  let database: EmptyDatabase;
  let here: ReturnType<typeof connect>;
  let there: ReturnType<typeof connect>;
  const insert = (tx: Tx) => tx.insert(tables.entries).values({ text: "a" });

  beforeEach(async () => {
    database = await openEmptyDatabase();
    here = connect(database.url);
    there = connect(database.url);
  });

  afterEach(async () => {
    await here.end();
    await there.end();
    await database[Symbol.asyncDispose]();
  });

  it("runs a call once, and replays it from the look-up, under the lock and after a wait for it", async () => {
    const run = vi.fn(async (tx: Tx) => {
      await insert(tx);
      return { id: "Some Text", empty: "", nothing: null };
    });
    const { run: runHeld, started, release } = held(run);
    const first = once(here.store, call, runHeld);
    await started;
    const duplicate = once(there.store, call, run);
    await untilWaiting(database, 1);
    release();
    const { result } = await first;
    expect(await duplicate).toMatchObject({ result, replayed: true });
    expect(await once(here.store, call, run)).toMatchObject({ result, replayed: true });
    const work = async (_tx: Tx, found: unknown) => ({ kind: "found", record: found }) as never; // `as`: it is there
    const found = await here.store.transaction({ ...call }, work, { waitMs: 0, mayDiscard: false });
    expect(found).toMatchObject({
      kind: "found",
      record: { payload: JSON.stringify(result), resourceId: "Some Text" },
    });
    expect(run).toHaveBeenCalledOnce();
    expect(await database.query("SELECT * FROM entries")).toHaveLength(1);
  });

  it("takes a call with steps over, and purges", async () => {
    const step = vi.fn(() => "Charged");
    const failing = onceExternal(here.store, call, async (external) => {
      await external.step("charge", step);
      throw new Error("later");
    });
    await expect(failing).rejects.toThrow("later");
    const finish = () =>
      onceExternal(there.store, { ...call, retention: "1s" }, (external) => external.step("charge", step));
    expect(await finish()).toMatchObject({ result: "Charged", replayed: false });
    expect(await finish()).toMatchObject({ result: "Charged", replayed: true });
    expect(step).toHaveBeenCalledOnce();
    await database.query("UPDATE idempotency_records SET expires_at = 1");
    expect(await here.store.purge()).toBe(1);
  });
}

describe.each(Object.entries(postgresJsOptions))("over postgres.js with %s, a store", (_name, options) => {
  suite((url) => {
    const client = postgres(url, { max: 3, onnotice: () => {}, ...options });
    const store = postgresStore(drizzlePostgresJs(client, { schema: tables }), { purgeEveryMs: 0 });
    return { store: store as unknown as Store<Tx>, end: () => client.end({ timeout: 1 }) }; // `as`: its transactions are
  });
});

describe.each(Object.entries(nodePostgresTypes))("over node-postgres with %s, a store", (_name, parsers) => {
  const withDefaults = Object.keys(parsers).map(
    (type) => [Number(type), pg.types.getTypeParser(Number(type))] as const,
  );
  beforeEach(() => {
    for (const [type, parse] of Object.entries(parsers)) pg.types.setTypeParser(Number(type), parse);
  });
  afterEach(() => {
    for (const [type, parse] of withDefaults) pg.types.setTypeParser(type, parse);
  });
  suite((url) => {
    const pool = new pg.Pool({ connectionString: url, max: 3 });
    const store = postgresStore(drizzleNodePostgres(pool, { schema: tables }), { purgeEveryMs: 0 });
    return { store: store as unknown as Store<Tx>, end: () => pool.end() }; // `as`: its transactions are
  });
});

describe.each(["snake_case", "camelCase"] as const)("with Drizzle's casing %s, a store", (casing) => {
  suite((url) => {
    const pool = new pg.Pool({ connectionString: url, max: 3 });
    const db = drizzleNodePostgres(pool, { schema: tables, casing });
    const store = postgresStore(db, { purgeEveryMs: 0 });
    return { store: store as unknown as Store<Tx>, end: () => pool.end() }; // `as`: its transactions are
  });
});

describe("over node-postgres with binary values, a store", () => {
  suite((url) => {
    const pool = new pg.Pool({ connectionString: url, max: 3, binary: true } as pg.PoolConfig); // `as`: its types lack `binary`
    const store = postgresStore(drizzleNodePostgres(pool, { schema: tables }), { purgeEveryMs: 0 });
    return { store: store as unknown as Store<Tx>, end: () => pool.end() }; // `as`: its transactions are
  });
});

describe("a row that the store can't read", () => {
  it.each(["{}", "[]", "null", "[{}]"])("refuses the call before it runs: %s", async (row) => {
    await using database = await openEmptyDatabase();
    const transform = { row: { from: () => JSON.parse(row) } };
    // Without fetch_types: postgres.js itself can't read such rows of its list of types.
    const client = postgres(database.url, { max: 3, onnotice: () => {}, fetch_types: false, transform });
    const store = postgresStore(drizzlePostgresJs(client), { purgeEveryMs: 0 });
    const run = vi.fn();
    await expect(once(store, call, run)).rejects.toThrow(/row of the store in another form.*`transform`/);
    expect(run).not.toHaveBeenCalled();
    await client.end({ timeout: 1 });
  });
});
