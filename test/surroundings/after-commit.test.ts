import { spawn } from "node:child_process";
import fs, { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { idempotencyRecords } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { createTables } from "../create-tables.ts";
import { orders, type RequestContext, type Tables, tables } from "../orders-schema.ts";
import { type Answer, type StartedServer, startServer } from "../start-server.ts";
import { temporaryFolder } from "../stores/sqlite/entries-database.ts";

// Between a commit and its answer there are two answers only: the result, or an error that calls no new key safe.

/** A server whose file is reached through a symbolic link, and a resolver that makes the fault once it has written. */
async function startFaulty(folder: string, makeFault: () => void): Promise<StartedServer> {
  const directory = join(folder, "real");
  mkdirSync(directory);
  symlinkSync(directory, join(folder, "link"));
  await createTables(join(directory, "orders.db"), tables);
  type Context = RequestContext & { tx: import("graphql-idempotent/sqlite").Transaction<Tables> };
  return startServer({
    directory: join(folder, "link"),
    typeDefs:
      'type Query { a: Int } type Mutation { order(idempotencyKey: ID!, fails: Boolean = false): Int @idempotent(ignore: ["fails"]) }',
    resolvers: () => ({
      Mutation: {
        order(_root: unknown, { fails }: { fails: boolean }, { tx }: Context) {
          const { changes } = tx.insert(orders).values({ customer: "alice", item: "x", quantity: 1 }).run();
          if (fails) makeFault();
          return changes;
        },
      },
    }),
  });
}

const order = (key: string, fails = false) => `mutation { order(idempotencyKey: "${key}", fails: ${fails}) }`;

function expectNoNewKey({ status, body }: Answer): void {
  if (status === 200) return void expect(body.data).toEqual({ order: 1 });
  expect(body.errors).toMatchObject([
    {
      extensions: {
        code: "IDEMPOTENCY_STORE_UNAVAILABLE",
        idempotency: { retryable: true, safeToUseNewKey: false },
      },
    },
  ]);
}

/** From the resolver's end until it is mended, the file's place can't be told. */
interface Fault {
  readonly make: (folder: string) => void;
  readonly mend: (folder: string) => void;
}

function relink(folder: string, target: string | undefined): void {
  unlinkSync(join(folder, "link"));
  if (target !== undefined) symlinkSync(target, join(folder, "link"));
}

const realStat = fs.statSync;

/** The operating system's answer for a file whose disk or server is gone; it can't be had otherwise in a test. */
function statThat(fail: () => never): Fault {
  function replace(stat: unknown): void {
    Object.assign(fs, { statSync: stat });
    syncBuiltinESMExports();
  }
  return { make: () => replace(fail), mend: () => replace(realStat) };
}

function systemError(code: string): never {
  throw Object.assign(new Error(`${code}: stat`), { code, syscall: "stat" });
}

const faults: Record<string, Fault> = {
  "a link that leads to itself (ELOOP)": {
    make: (folder) => relink(folder, join(folder, "link")),
    mend: (folder) => relink(folder, join(folder, "real")),
  },
  "a folder that became a file (ENOTDIR)": {
    make(folder) {
      relink(folder, undefined);
      writeFileSync(join(folder, "link"), "");
    },
    mend: (folder) => relink(folder, join(folder, "real")),
  },
  "a folder that is gone (ENOENT)": {
    make: (folder) => renameSync(join(folder, "real"), join(folder, "away")),
    mend: (folder) => renameSync(join(folder, "away"), join(folder, "real")),
  },
  "a name that is too long (ENAMETOOLONG)": {
    make: (folder) => relink(folder, join(folder, "x".repeat(300))),
    mend: (folder) => relink(folder, join(folder, "real")),
  },
  "a disk that fails (EIO)": statThat(() => systemError("EIO")),
  "a server that forgot the file (ESTALE)": statThat(() => systemError("ESTALE")),
  "a process without descriptors (EMFILE)": statThat(() => systemError("EMFILE")),
  "a fault that is no Error": statThat(() => {
    throw null;
  }),
};

describe("a file whose place can't be told once the call has committed", () => {
  it.each(Object.keys(faults))("makes no new key safe, and the writer goes on: %s", async (name) => {
    using folder = temporaryFolder();
    const { make, mend } = faults[name] as Fault; // `as`: it is one of the names
    await using server = await startFaulty(folder.path, () => make(folder.path));
    await server.ask(order("before"));
    try {
      for (const answer of await Promise.all([
        server.ask(order("first", true)),
        server.ask(order("second")),
      ])) {
        expectNoNewKey(answer);
      }
      expectNoNewKey(await server.ask(order("first"))); // its retry
      expectNoNewKey(await server.ask(order("meanwhile")));
    } finally {
      mend(folder.path);
    }
    for (const key of ["before", "first", "second", "meanwhile"]) {
      expect((await server.ask(order(key))).body.data).toEqual({ order: 1 });
    }
    expect(await server.countOrders()).toBe(4);
    expect(await server.database.db.$count(idempotencyRecords)).toBe(4);
  });

  it("makes no new key safe: a folder that the server may no longer enter (EACCES)", async () => {
    using folder = temporaryFolder();
    const script = fileURLToPath(new URL("forbidden-folder.mjs", import.meta.url));
    const child = spawn(process.execPath, [script, folder.path], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    for await (const chunk of child.stdout) output += chunk;
    const refusal = { code: "IDEMPOTENCY_STORE_UNAVAILABLE", safeToUseNewKey: false };
    expect(JSON.parse(output)).toEqual({
      forbidden: true,
      first: refusal,
      meanwhile: [refusal, refusal],
      afterwards: [true, false],
      effects: 2,
    });
  });
});
