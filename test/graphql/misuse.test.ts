import { type ChildProcess, spawn } from "node:child_process";
import { once as event } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeExecutableSchema } from "@graphql-tools/schema";
import Sqlite from "better-sqlite3";
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from "graphql";
import {
  type IdempotentOptions,
  idempotent,
  type OnceOptions,
  once,
  type PayloadType,
  SHARED,
  type Store,
} from "graphql-idempotent";
import {
  type DatabaseOptions,
  idempotencyRecords,
  openDatabase,
  type SqliteStoreOptions,
  sqliteStore,
} from "graphql-idempotent/sqlite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Entries,
  openEntries,
  type Tables,
  type Tx,
  tables,
  temporaryFolder,
} from "../stores/sqlite/entries-database.ts";

/** What JavaScript's users can pass, whatever the types say. */
type Anything<Options> = { readonly [Name in keyof Options]?: unknown } & Readonly<Record<string, unknown>>;

let opened: Entries;
let store: Store<Tx>;
const folder = temporaryFolder();

beforeAll(async () => {
  opened = await openEntries();
  store = opened.store;
});

afterAll(async () => {
  await opened[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as Error).message; // `as`: nothing here throws anything but errors
  }
  return "Nothing was thrown.";
}

const range = "a number above 0 and at most 2147483647";
const storeRequired = "requires a store, such as sqliteStore(openDatabase(file, { schema })).";
const typesForm = "must be { class, encode, decode }, but it is { class: 'Money' }.";

describe("idempotent() refuses at once", () => {
  const options =
    "store, scope, header, clientDirective, name, requireOn, except, waitMs, leaseMs, warn, types, maxBytes";
  const scope = `idempotent() requires a scope: a function of the context that says whose call it is, such as (context) => context.customer.id, or SHARED if all clients are to share their keys; but it is`;

  it.each<[string, Anything<IdempotentOptions<object, Tx>>, string]>([
    ["an unknown option", { ttl: "24h" }, `idempotent() has no option "ttl". Its options are ${options}.`],
    ["a missing store", { store: undefined }, `idempotent() ${storeRequired}`],
    ["a database for a store", { store: { write() {} } }, `idempotent() ${storeRequired}`],
    ["a missing scope", { scope: undefined }, `${scope} undefined.`],
    ["a constant scope, which all clients would share", { scope: "alice" }, `${scope} 'alice'.`],
    ["another symbol for a scope", { scope: Symbol("SHARED") }, `${scope} Symbol(SHARED).`],
    [
      "a header that is a name",
      { header: "Idempotency-Key" },
      "idempotent(): header must be a function of the context, but it is 'Idempotency-Key'.",
    ],
    [
      "a clientDirective that is no boolean",
      { clientDirective: "yes" },
      "idempotent(): clientDirective must be true or false, but it is 'yes'.",
    ],
    [
      "a name that is none",
      { name: "idem potent" },
      "idempotent(): name must be a name of letters, digits and underscores, but it is 'idem potent'.",
    ],
    [
      "an empty name",
      { name: "" },
      "idempotent(): name must be a name of letters, digits and underscores, but it is ''.",
    ],
    [
      "another requireOn",
      { requireOn: "all" },
      `idempotent(): requireOn must be "all-mutations", but it is 'all'.`,
    ],
    [
      "an except that is one name",
      { except: "cancelOrder" },
      "idempotent(): except must be an array of names of mutations, but it is 'cancelOrder'.",
    ],
    ["a warn that is no function", { warn: true }, "idempotent(): warn must be a function, but it is true."],
    [
      "a wait without end",
      { waitMs: Number.POSITIVE_INFINITY },
      `idempotent(): waitMs must be ${range}, but it is Infinity.`,
    ],
    ["a lease of nothing", { leaseMs: 0 }, `idempotent(): leaseMs must be ${range}, but it is 0.`],
    ["a size with a unit", { maxBytes: "1MB" }, `idempotent(): maxBytes must be ${range}, but it is '1MB'.`],
    ["a class without a codec", { types: { Money: { class: "Money" } } }, `types.Money ${typesForm}`],
    [
      "a name of a class that can't be stored",
      { types: { 'a"b': {} as PayloadType } },
      String.raw`types: a name has no quotes, backslashes or control characters, but one is "a\"b".`,
    ],
  ])("%s", (_what, wrong, message) => {
    // `as`: see Anything
    const make = () => idempotent({ store, scope: SHARED, ...wrong } as IdempotentOptions<object, Tx>);
    expect(messageOf(make)).toBe(message);
    expect(make).toThrow(TypeError);
  });

  it.each([[undefined], [null], ["store"]])("options that are %j", (options) => {
    // `as`: see Anything
    expect(() => idempotent(options as never)).toThrow(
      new TypeError(`idempotent() requires an object of options, but received ${options}`),
    );
  });
});

/** Builds a schema with these mutations, and returns what it says; `on` is what stands on the type itself. */
function build(
  mutations: string,
  options: Partial<IdempotentOptions<object, Tx>> = {},
  on = "",
): { readonly schema: GraphQLSchema; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const idempotency = idempotent<object, Tx>({ store, scope: SHARED, warn, ...options });
  const schema = makeExecutableSchema({
    typeDefs: [
      idempotency.typeDefs,
      `type Query { orders: Int } enum Color { RED }
       input Input { idempotencyKey: ID! at: String lines: [Line!] }
       input Line { idempotencyKey: ID! note: String }
       type Mutation ${on} { ${mutations} }`,
    ],
  });
  return { schema: idempotency.transform(schema), warnings };
}

function withoutLeases(): Store<Tx> {
  const { leases: _leases, ...rest } = store;
  return rest;
}

describe("a schema isn't built when", () => {
  const create = "create(input: Input, idempotencyKey: ID!): Int";
  const where = "@idempotent on Mutation.create:";
  const retention = `${where} retention must be a whole number and a unit, such as "30s", "15m", "24h" or "30d", of at most 36500d, but it is`;
  const noArgument = (path: string, last: string, there: string) =>
    `${where} the field has no argument "${path}" to carry the key. Its arguments are ${there}. Add ${last}: ID!, name another one by argument, or enable another source of keys (header, clientDirective).`;
  const noIgnored = (path: string) =>
    `${where} ignore names "${path}", which is no argument of the field and no input field below one. Its arguments are input, idempotencyKey.`;

  it.each<[string, string, string, Partial<IdempotentOptions<object, Tx>>?]>([
    ["retention has no unit", `${create} @idempotent(retention: "24")`, `${retention} "24".`],
    ["retention is zero", `${create} @idempotent(retention: "0s")`, `${retention} "0s".`],
    [
      "retention is too long to be a date",
      `${create} @idempotent(retention: "36501d")`,
      `${retention} "36501d".`,
    ],
    [
      "the default key argument isn't there",
      "create: Int @idempotent",
      noArgument("idempotencyKey", "idempotencyKey", "none"),
    ],
    [
      "a named key argument isn't there",
      `${create} @idempotent(argument: "input.key")`,
      noArgument("input.key", "key", "input, idempotencyKey"),
    ],
    [
      "a path goes on below a scalar",
      `${create} @idempotent(argument: "idempotencyKey.id")`,
      noArgument("idempotencyKey.id", "id", "input, idempotencyKey"),
    ],
    [
      "a named key argument is misspelt, though a header is enabled",
      `${create} @idempotent(argument: "key")`,
      noArgument("key", "key", "input, idempotencyKey"),
      { header: () => undefined },
    ],
    [
      "the key argument is an input",
      `${create} @idempotent(argument: "input")`,
      `${where} the key argument "input" must be an ID or a String, but its type is Input.`,
    ],
    [
      "the key argument is a number",
      "create(idempotencyKey: Int!): Int @idempotent",
      `${where} the key argument "idempotencyKey" must be an ID or a String, but its type is Int!.`,
    ],
    [
      "the key argument is a boolean",
      "create(idempotencyKey: Boolean): Int @idempotent",
      `${where} the key argument "idempotencyKey" must be an ID or a String, but its type is Boolean.`,
    ],
    [
      "the key argument is an enum",
      "create(idempotencyKey: Color!): Int @idempotent",
      `${where} the key argument "idempotencyKey" must be an ID or a String, but its type is Color!.`,
    ],
    [
      "the key argument is a list",
      "create(idempotencyKey: [ID!]!): Int @idempotent",
      `${where} the key argument "idempotencyKey" must be an ID or a String, but its type is [ID!]!.`,
    ],
    [
      "the key stands in a list",
      `${create} @idempotent(argument: "input.lines.idempotencyKey")`,
      `${where} the key argument "input.lines.idempotencyKey" stands in a list, but a call has one key.`,
    ],
    [
      "the path of the key argument is empty",
      `${create} @idempotent(argument: "")`,
      `${where} argument must be a dotted path such as "order.id", but it is "".`,
    ],
    [
      "the path of the key argument is null",
      `${create} @idempotent(argument: null)`,
      `${where} argument must be a dotted path such as "order.id", but it is null.`,
    ],
    [
      "resourceId is no path",
      `${create} @idempotent(resourceId: "order..id")`,
      `${where} resourceId must be a dotted path such as "order.id", but it is "order..id".`,
    ],
    ["ignore names nothing", `${create} @idempotent(ignore: ["note"])`, noIgnored("note")],
    [
      "ignore names nothing in an input",
      `${create} @idempotent(ignore: ["input.note"])`,
      noIgnored("input.note"),
    ],
    [
      "ignore names nothing in a list",
      `${create} @idempotent(ignore: ["input.lines.at"])`,
      noIgnored("input.lines.at"),
    ],
    [
      "ignore is no path",
      `${create} @idempotent(ignore: [".input"])`,
      `${where} ignore must be a dotted path such as "order.id", but it is ".input".`,
    ],
    [
      "effects are EXTERNAL without leases",
      `${create} @idempotent(effects: EXTERNAL)`,
      `${where} effects: EXTERNAL needs a store with leases, and this store has none. Use a store with leases, or effects: DATABASE.`,
    ],
    [
      "effects are EXTERNAL without a required key",
      `${create} @idempotent(effects: EXTERNAL, required: false)`,
      `${where} effects: EXTERNAL needs a key for its lease, so required can't be false. Drop one of the two.`,
    ],
    [
      "a mutation has no directive, and all must",
      `${create} @idempotent cancel: Int`,
      `Mutation.cancel has no @idempotent, and requireOn: "all-mutations" wants it on every mutation. Annotate the field, or add it to except if it is idempotent by nature.`,
      { requireOn: "all-mutations" },
    ],
    [
      "a mutation is annotated and excepted",
      `${create} @idempotent`,
      `${where} the field is annotated and excepted. Drop one of the two.`,
      { except: ["create"] },
    ],
    [
      "an excepted mutation isn't there",
      `${create} @idempotent`,
      `idempotent({ except }) names "cancle", which is no mutation of the schema.`,
      { except: ["cancle"] },
    ],
    [
      "a key is written in the schema",
      `${create} @idempotent(key: "a")`,
      `${where} key is for clients, on a field of their operation. In the schema, name the argument that carries the key: argument.`,
      { clientDirective: true },
    ],
    [
      "the directive has another name",
      `${create} @once(retention: "1")`,
      retention.replace("@idempotent", "@once").concat(' "1".'),
      { name: "once" },
    ],
  ])("%s", (what, mutations, message, options = {}) => {
    const lacksLeases = what.endsWith("without leases") ? { store: withoutLeases() } : {};
    expect(messageOf(() => build(mutations, { ...options, ...lacksLeases }))).toBe(message);
  });

  it("the type's own default doesn't fit one of its fields", () => {
    expect(messageOf(() => build("create: Int", {}, "@idempotent"))).toBe(
      noArgument("idempotencyKey", "idempotencyKey", "none"),
    );
  });

  it.each([
    ["a field of the query type", "extend type Query { a: Int @idempotent }", "Query.a"],
    ["the query type", "extend type Query @idempotent", "Query"],
    ["a field of another type", "type Order { id: ID @idempotent }", "Order.id"],
    ["a field of an interface", "interface Node { id: ID @idempotent }", "Node.id"],
    ["another type", "type Order @idempotent { id: ID }", "Order"],
  ])("the directive stands on %s", (_where, sdl, place) => {
    expect(messageOf(() => build(`create: Int } ${sdl} type Last { a: Int`))).toBe(
      `@idempotent on ${place}: only fields of the root mutation type can be idempotent. Move the directive to the mutation.`,
    );
  });

  it.each<[string, Record<string, unknown>, string]>([
    [
      "an argument that there isn't",
      { ttl: "1h" },
      `there is no argument "ttl". The arguments are argument, resourceId, retention, ignore, effects, concurrent, errors, required`,
    ],
    [
      "key",
      { key: "a" },
      "key is for clients, on a field of their operation. In the schema, name the argument that carries the key: argument",
    ],
    ["other effects", { effects: "NONE" }, 'effects must be DATABASE or EXTERNAL, but it is "NONE"'],
    ["another concurrent", { concurrent: "wait" }, 'concurrent must be WAIT or REJECT, but it is "wait"'],
    ["other errors", { errors: "KEEP" }, 'errors must be RETRY or REPLAY, but it is "KEEP"'],
    ["another required", { required: "yes" }, 'required must be true or false, but it is "yes"'],
    [
      "a retention in numbers",
      { retention: 24 },
      'retention must be a whole number and a unit, such as "30s", "15m", "24h" or "30d", of at most 36500d, but it is 24',
    ],
    [
      "an ignore that is no path",
      { ignore: [7] },
      'ignore must be a dotted path such as "order.id", but it is 7',
    ],
  ])("code gives the directive %s", (_what, written, message) => {
    const type = GraphQLString;
    const args = { idempotencyKey: { type: GraphQLString } };
    const extensions = { directives: { idempotent: written } };
    const schema = new GraphQLSchema({
      query: new GraphQLObjectType({ name: "Query", fields: { a: { type } } }),
      mutation: new GraphQLObjectType({ name: "Mutation", fields: { create: { type, args, extensions } } }),
    });
    expect(
      messageOf(() => idempotent({ store, scope: SHARED, header: () => undefined }).transform(schema)),
    ).toBe(`${where} ${message}.`);
  });

  it("it has been transformed already", () => {
    const idempotency = idempotent({ store, scope: SHARED });
    expect(messageOf(() => idempotency.transform(build(`${create} @idempotent`).schema))).toBe(
      "Mutation.create is protected already, and a call would wait for itself. Call transform() once on a schema.",
    );
  });
});

describe("a schema is built with a warning when", () => {
  const mend = "so that clients learn of it before they call, or set required: false.";

  it("the key argument can be left out, although a key is required and has no other source", () => {
    expect(build("create(idempotencyKey: ID): Int @idempotent").warnings).toEqual([
      `@idempotent on Mutation.create: the key argument "idempotencyKey" can be left out, although a key is required and has no other source. Make it idempotencyKey: ID!, ${mend}`,
    ]);
  });

  it("the input that the key stands in can be left out", () => {
    const mutation = 'create(input: Input): Int @once(argument: "input.idempotencyKey")';
    expect(build(mutation, { name: "once" }).warnings).toEqual([
      `@once on Mutation.create: the key argument "input.idempotencyKey" can be left out, although a key is required and has no other source. Make it input: Input!, ${mend}`,
    ]);
  });

  it.each<[string, string, Partial<IdempotentOptions<object, Tx>>]>([
    ["the argument isn't nullable", "create(idempotencyKey: ID!): Int @idempotent", {}],
    ["no key is required", "create(idempotencyKey: ID): Int @idempotent(required: false)", {}],
    ["a header is enabled", "create(idempotencyKey: ID): Int @idempotent", { header: () => undefined }],
    [
      "the client's directive is enabled",
      "create(idempotencyKey: ID): Int @idempotent",
      { clientDirective: true },
    ],
  ])("but without one when %s", (_what, mutation, options) => {
    expect(build(mutation, options).warnings).toEqual([]);
  });

  it("goes to the process's own warnings unless told otherwise", async () => {
    const warned = event(process, "warning");
    const idempotency = idempotent({ store, scope: SHARED });
    const sdl = "type Query { a: Int } type Mutation { create(idempotencyKey: ID): Int @idempotent }";
    idempotency.transform(makeExecutableSchema({ typeDefs: [idempotency.typeDefs, sdl] }));
    const [warning] = await warned;
    expect(warning.message).toContain("@idempotent on Mutation.create");
  });
});

describe("once() refuses", () => {
  const options =
    "scope, field, key, input, ignore, resourceId, retention, concurrent, waitMs, leaseMs, errors, types, maxBytes";
  const scope = (shown: string) =>
    `The scope of an idempotent call must be a string that names whose call it is, and not empty, but it is ${shown}. Write \`scope: SHARED\` if all clients are to share their keys.`;
  const field = "once() requires a field: the operation's name, without control characters, but it is";

  it.each<[string, Anything<OnceOptions>, string]>([
    ["an unknown option", { ttl: "1h" }, `once() has no option "ttl". Its options are ${options}.`],
    ["a missing scope", { scope: undefined }, scope("undefined")],
    ["an empty scope", { scope: "" }, scope("''")],
    ["a missing field", { field: undefined }, `${field} undefined.`],
    ["an empty field", { field: "" }, `${field} ''.`],
    ["a field that could be another field and key", { field: "a\0b" }, `${field} 'a\\x00b'.`],
    [
      "one path for a list of them",
      { ignore: "note" },
      "once(): ignore must be an array of dotted paths, but it is 'note'.",
    ],
    [
      "a resourceId that is no path",
      { resourceId: "a." },
      `once(): resourceId must be a dotted path such as "order.id", but it is 'a.'.`,
    ],
    [
      "another retention",
      { retention: "1 day" },
      `once(): retention must be a whole number and a unit, such as "30s", "15m", "24h" or "30d", of at most 36500d, but it is '1 day'.`,
    ],
    [
      "another concurrent",
      { concurrent: "wait" },
      `once(): concurrent must be "WAIT" or "REJECT", but it is 'wait'.`,
    ],
    ["other errors", { errors: "KEEP" }, `once(): errors must be "RETRY" or "REPLAY", but it is 'KEEP'.`],
    ["a wait of nothing", { waitMs: 0 }, `once(): waitMs must be ${range}, but it is 0.`],
    [
      "a lease without end",
      { leaseMs: Number.POSITIVE_INFINITY },
      `once(): leaseMs must be ${range}, but it is Infinity.`,
    ],
    ["a size of less than nothing", { maxBytes: -1 }, `once(): maxBytes must be ${range}, but it is -1.`],
    ["a class without a codec", { types: { Money: { class: "Money" } } }, `types.Money ${typesForm}`],
  ])("%s", async (_what, wrong, message) => {
    let ran = 0;
    // `as`: see Anything
    const call = { scope: SHARED, field: "create", key: "a", ...wrong } as unknown as OnceOptions;
    await expect(once(store, call, () => ++ran)).rejects.toThrow(new TypeError(message));
    expect(ran).toBe(0);
  });

  it("a missing key, as a client would be told", async () => {
    // `as`: see Anything
    const call = { scope: SHARED, field: "create" } as OnceOptions;
    const refused = expect(once(store, call, () => 1)).rejects;
    await refused.toMatchObject({ code: "IDEMPOTENCY_KEY_MISSING", message: "once() requires a `key`." });
  });

  it("an invalid key, as a client would be told", async () => {
    const refused = expect(once(store, { scope: SHARED, field: "create", key: " a" }, () => 1)).rejects;
    await refused.toMatchObject({
      code: "IDEMPOTENCY_KEY_INVALID",
      message:
        "The idempotency key in `key` must be a string of 1 to 255 characters without control characters and without white space at either end, but it has white space at an end. Send a UUID, the same one with every retry of this call.",
    });
  });

  it("a missing store", async () => {
    // `as`: see Anything
    await expect(
      once(undefined as unknown as Store<Tx>, { scope: SHARED, field: "a", key: "a" }, () => 1),
    ).rejects.toThrow(new TypeError(`once() ${storeRequired}`));
  });
});

describe("openDatabase() refuses", () => {
  const options =
    "schema, casing, logger, migrationsFolder, configure, synchronous, maxBatch, maxBatchMs, maxQueue, lockWaitMs, deadlineMs";
  const twoConnections = (file: string) =>
    `openDatabase() keeps several connections to one file, which "${file}" can't give. Pass undefined for a temporary file.`;

  it.each<[string, unknown, Anything<DatabaseOptions<Tables>>, string]>([
    ["an empty file name", "", {}, twoConnections("")],
    ["a database in memory", ":memory:", {}, twoConnections(":memory:")],
    ["a file that is no path", 7, {}, "openDatabase() requires a file's path, or undefined, but received 7."],
    [
      "an unknown option",
      "a.db",
      { wal: true },
      `openDatabase() has no option "wal". Its options are ${options}.`,
    ],
    [
      "a missing schema",
      "a.db",
      { schema: undefined },
      "openDatabase() requires a schema: the exports of the file that defines the tables, but it is undefined.",
    ],
    [
      "another synchronous",
      "a.db",
      { synchronous: "full" },
      "openDatabase(): synchronous must be one of OFF, NORMAL, FULL, EXTRA, but it is 'full'.",
    ],
    [
      "migrations that are no folder",
      "a.db",
      { migrationsFolder: true },
      "openDatabase(): migrationsFolder must be a path, but it is true.",
    ],
    [
      "a configure that is no function",
      "a.db",
      { configure: {} },
      "openDatabase(): configure must be a function, but it is {}.",
    ],
    [
      "no calls in a batch",
      "a.db",
      { maxBatch: 0 },
      `openDatabase(): maxBatch must be ${range}, but it is 0.`,
    ],
    [
      "no time for a batch",
      "a.db",
      { maxBatchMs: 0 },
      `openDatabase(): maxBatchMs must be ${range}, but it is 0.`,
    ],
    ["no queue", "a.db", { maxQueue: 0 }, `openDatabase(): maxQueue must be ${range}, but it is 0.`],
    [
      "no time for a lock",
      "a.db",
      { lockWaitMs: -1 },
      `openDatabase(): lockWaitMs must be ${range}, but it is -1.`,
    ],
    [
      "a deadline without end",
      "a.db",
      { deadlineMs: Number.POSITIVE_INFINITY },
      `openDatabase(): deadlineMs must be ${range}, but it is Infinity.`,
    ],
  ])("%s, before it makes a file", (_what, file, wrong, message) => {
    const path = typeof file === "string" && file.endsWith(".db") ? join(folder.path, "never.db") : file;
    // `as`: see Anything
    const open = () => openDatabase(path as string, { schema: tables, ...wrong } as DatabaseOptions<Tables>);
    expect(messageOf(open)).toBe(message);
    expect(open).toThrow(TypeError);
    expect(() => new Sqlite(join(folder.path, "never.db"), { fileMustExist: true })).toThrow(
      "unable to open",
    );
  });

  function reasonFor(name: string, options: Partial<DatabaseOptions<Tables>> = {}): string {
    const path = join(folder.path, name);
    const message = messageOf(() => openDatabase(path, { schema: tables, ...options }));
    expect(message.startsWith(`The database file ${path} can't be used: `)).toBe(true);
    return message.slice(`The database file ${path} can't be used: `.length);
  }

  it("a file that is no database, one in no directory, and a directory, in one line each", () => {
    writeFileSync(join(folder.path, "letter.txt"), "Dear Alice, ".repeat(1000));
    mkdirSync(join(folder.path, "directory"));
    expect(reasonFor("letter.txt")).toBe("it is no SQLite database. Name another file, or move it away.");
    for (const name of ["nowhere/a.db", "directory"]) {
      expect(reasonFor(name)).toBe(
        "it can't be opened or created. Make its directory, and let this user write to it.",
      );
    }
  });

  it("a file that this user may only read", () => {
    const file = join(folder.path, "readonly.db");
    new Sqlite(file).exec("CREATE TABLE a (a)").close();
    chmodSync(file, 0o444);
    chmodSync(folder.path, 0o755);
    asNobody(() => {
      expect(reasonFor("readonly.db")).toBe(
        "it is read-only. Let this user write to it and to its directory.",
      );
    });
  });

  it("a file that another process keeps locked", async () => {
    await using holder = await lockingProcess(join(folder.path, "locked.db"));
    expect(holder.child.pid).toBeGreaterThan(0);
    const configure = (connection: Sqlite.Database) => connection.pragma("busy_timeout = 1");
    expect(reasonFor("locked.db", { configure })).toBe(
      "another process holds its lock. Try again when that is done.",
    );
  });

  it("a folder of migrations that isn't there", () => {
    expect(reasonFor("unmigrated.db", { migrationsFolder: join(folder.path, "none") })).toBe(
      `Can't find meta/_journal.json file`,
    );
  });

  it("a configuration that throws, or that takes away what the guarantees rest on", () => {
    expect(
      reasonFor("configured.db", {
        configure: () => {
          throw new Error("no such extension");
        },
      }),
    ).toBe("no such extension");
    expect(
      reasonFor("begun.db", {
        configure: (connection) => void (connection.readonly || connection.exec("BEGIN")),
      }),
    ).toMatch(/^PRAGMA journal_mode|^cannot change into wal mode|^Safety level/);
  });
});

describe("sqliteStore() refuses", () => {
  it.each<[string, Anything<SqliteStoreOptions>, string]>([
    [
      "an unknown option",
      { ttl: 1 },
      'sqliteStore() has no option "ttl". Its options are now, purgeEveryMs.',
    ],
    [
      "a time for a clock",
      { now: 1_700_000_000_000 },
      "sqliteStore(): now must be a function, but it is 1700000000000.",
    ],
    [
      "a purge in no time",
      { purgeEveryMs: -1 },
      "sqliteStore(): purgeEveryMs must be 0 or a number of milliseconds, at most 2147483647, but it is -1.",
    ],
    [
      "a purge that a timer can't wait for",
      { purgeEveryMs: 2 ** 31 },
      "sqliteStore(): purgeEveryMs must be 0 or a number of milliseconds, at most 2147483647, but it is 2147483648.",
    ],
  ])("%s", (_what, wrong, message) => {
    // `as`: see Anything
    const make = () => sqliteStore(opened.database, wrong as SqliteStoreOptions);
    expect(messageOf(make)).toBe(message);
    expect(make).toThrow(TypeError);
  });

  it("anything but a database of openDatabase()", () => {
    // `as`: see Anything
    expect(() => sqliteStore({ ...opened.database } as typeof opened.database)).toThrow(
      new TypeError("sqliteStore() requires a database that openDatabase() returned."),
    );
  });

  it.each([
    ["no table of records", ""],
    ["one of another form", "CREATE TABLE idempotency_records (key TEXT PRIMARY KEY)"],
  ])("a database with %s, and says how to get one", async (_what, sql) => {
    const configure = (connection: Sqlite.Database) => void (connection.readonly || connection.exec(sql));
    await using database = openDatabase(undefined, { schema: { idempotencyRecords }, configure });
    expect(messageOf(() => sqliteStore(database))).toBe(
      `The database ${database.file} has no table for idempotency records, or one of another form. Re-export idempotencyRecords from your Drizzle schema, generate a migration with drizzle-kit, and apply it: openDatabase(file, { schema, migrationsFolder }).`,
    );
  });
});

/** Root may write to any file, so for once it is somebody else. */
function asNobody(action: () => void): void {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    action();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

/** Another process that holds the lock on a file until it is disposed of. */
async function lockingProcess(file: string): Promise<{ readonly child: ChildProcess } & AsyncDisposable> {
  const script = `
    import Sqlite from "better-sqlite3";
    const connection = new Sqlite(${JSON.stringify(file)});
    connection.exec("CREATE TABLE a (a); BEGIN EXCLUSIVE");
    console.log("locked");
    process.stdin.resume();`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await event(child.stdout, "data");

  async function end(): Promise<void> {
    const ended = event(child, "exit");
    child.kill();
    await ended;
  }

  return { child, [Symbol.asyncDispose]: end };
}
