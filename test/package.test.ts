import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// The package as it is published: packed, and installed into a project outside of this repository.

const run = promisify(execFile);
const repository = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));

let directory: string;
let tarball: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "graphql-idempotent-package-"));
  // Without scripts: `npm test` has built the package, and other tests are using the build.
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", directory];
  const [packed] = JSON.parse((await run("npm", pack, { cwd: repository })).stdout);
  tarball = join(directory, packed.filename);
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("the packed package", () => {
  it("has nothing that publint would mend", async () => {
    const { buffer } = new Uint8Array(readFileSync(tarball));
    const { messages } = await publint({ strict: true, pack: { tarball: buffer } });
    expect(messages).toEqual([]);
  });

  it("has types that every ESM resolution finds", async () => {
    const attw = join(repository, "node_modules/.bin/attw");
    const { stdout } = await run(attw, [tarball, "--profile", "esm-only"]);
    const entryPoints = Object.keys(manifest.exports).length - 1; // but package.json
    expect(stdout.match(/node16 \(from ESM\): 🟢 \(ESM\)/g)).toHaveLength(entryPoints);
  });

  it("carries the protocol and the directive's page, and neither sources nor the shop", async () => {
    const { stdout } = await run("tar", ["-tzf", tarball]);
    const files = stdout.trim().split("\n");
    expect(files).toContain("package/PROTOCOL.md");
    expect(files).toContain("package/docs/directive.md");
    expect(files.filter((file) => /^package\/(src|test|bench|dist\/shop)\//.test(file))).toEqual([]);
  });
});

describe("a new user's server", () => {
  /** An installation that needs no registry: what the package depends on is linked from this repository. */
  async function install(project: string): Promise<void> {
    const { dependencies, peerDependencies } = manifest;
    const tools = [
      "@graphql-tools/schema",
      "drizzle-kit",
      "typescript",
      "@types/node",
      "@types/better-sqlite3",
      "@types/pg",
    ];
    const linked = [...Object.keys(dependencies), ...Object.keys(peerDependencies), ...tools];
    writeFileSync(
      join(project, "package.json"),
      JSON.stringify({
        type: "module",
        dependencies: {
          [manifest.name]: `file:${tarball}`,
          ...Object.fromEntries(
            linked.map((name) => [name, `file:${join(repository, "node_modules", name)}`]),
          ),
        },
      }),
    );
    await run("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: project,
    });
  }

  /**
   * Writes the TypeScript examples of a document into files. Each begins with its file's name, except the first
   * of the README, which is `orders.ts`. The README's server gets a free port.
   */
  function writeExamples(page: string, project: string): void {
    const text = readFileSync(join(repository, page), "utf8");
    for (const [, example = ""] of text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)) {
      const name = /^\/\/ (\S+\.ts)\n/.exec(example)?.[1] ?? "orders.ts";
      const source = example.replace(
        "startStandaloneServer(server, {",
        'startStandaloneServer(server, { listen: { port: 0, host: "127.0.0.1" },',
      );
      writeFileSync(join(project, name), source, { flag: "wx" });
    }
  }

  type Ask = (query: string) => Promise<{ readonly replayed: string | null; readonly body: unknown }>;

  /** Compiles and migrates a project, starts its server, and lets `talk` ask it. */
  async function tryOut(project: string, talk: (ask: Ask) => Promise<void>): Promise<void> {
    await install(project);
    const inProject = { cwd: project };
    const sources = readdirSync(project).filter((file) => file.endsWith(".ts"));
    // Drizzle's own declarations name drivers that nobody has all of.
    const strict = [
      "--strict",
      "--skipLibCheck",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--types",
      "node",
      "--rewriteRelativeImportExtensions",
    ];
    await run("npx", ["tsc", ...strict, ...sources], inProject);
    await run("npx", ["drizzle-kit", "generate", "--dialect", "sqlite", "--schema", "tables.ts"], inProject);

    const server = spawn(process.execPath, ["server.js"], {
      ...inProject,
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const lines = createInterface(server.stdout)[Symbol.asyncIterator]();
      const url = (await lines.next()).value as string; // `as`: the first line is the address
      await talk(async (query) => {
        const headers = {
          "content-type": "application/json",
          authorization: "Bearer guest",
          "idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        };
        const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query }) });
        return { replayed: response.headers.get("idempotent-replayed"), body: await response.json() };
      });
    } finally {
      server.kill();
      await once(server, "exit");
    }
  }

  it("compiles, migrates, runs a mutation once and replays it", async () => {
    const project = mkdtempSync(join(directory, "project-"));
    cpSync(fileURLToPath(new URL("new-user", import.meta.url)), project, { recursive: true });
    await tryOut(project, async (ask) => {
      const first = await ask('mutation { book(seat: "12A") { id seat } }');
      const retry = await ask('mutation { book(seat: "12A") { id seat } }');
      const all = await ask("{ bookings { id seat } }");
      expect(first.body).toMatchObject({ data: { book: { id: "1", seat: "12A" } } });
      expect(first.replayed).toBeNull();
      expect(retry).toMatchObject({ replayed: "true", body: { data: Object(first.body).data } });
      expect(all.body).toEqual({ data: { bookings: [{ id: "1", seat: "12A" }] } });
    });
  }, 120_000);

  it("copied from the README does the same, and the documents' other examples compile", async () => {
    const project = mkdtempSync(join(directory, "project-"));
    for (const page of ["README.md", "docs/directive.md", "docs/scaling.md"]) writeExamples(page, project);
    await tryOut(project, async (ask) => {
      const mutation = 'mutation { createOrder(item: "cup", idempotencyKey: "1") { id item } }';
      const data = { createOrder: { id: "1", item: "cup" } };
      expect(await ask(mutation)).toMatchObject({ replayed: null, body: { data } });
      expect(await ask(mutation)).toMatchObject({ replayed: "true", body: { data } });
      expect((await ask("{ orders { id } }")).body).toEqual({ data: { orders: [{ id: "1" }] } });
    });
  }, 120_000);
});
