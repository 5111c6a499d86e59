import { execFile } from "node:child_process";
import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const project = fileURLToPath(new URL("..", import.meta.url));

/** A file, and an address that it must not import. */
const wrongImports = [
  ["src/index.ts", "./shop/main.ts"],
  ["src/index.ts", "./stores/sqlite/index.ts"],
  ["src/protocol.ts", "graphql"],
  ["src/protocol.ts", "./options.ts"],
  ["src/errors.ts", "./options.ts"],
  ["src/options.ts", "./stores/store.ts"],
  ["src/stores/planted.ts", "../core/record.ts"],
  ["src/stores/planted.ts", "../graphql/outcome.ts"],
  ["src/stores/planted.ts", "../servers/apollo-server.ts"],
  ["src/stores/planted.ts", "../shop/money.ts"],
  ["src/stores/planted.ts", "./sqlite/table.ts"],
  ["src/stores/sqlite/planted.ts", "../../core/key.ts"],
  ["src/stores/sqlite/planted.ts", "../postgres/table.ts"],
  ["src/stores/postgres/planted.ts", "../../graphql/outcome.ts"],
  ["src/stores/postgres/planted.ts", "../sqlite/table.ts"],
  ["src/stores/postgres/drivers/planted.ts", "../../../core/key.ts"],
  ["src/stores/postgres/drivers/planted.ts", "../../sqlite/table.ts"],
  ["src/core/planted.ts", "../graphql/outcome.ts"],
  ["src/core/planted.ts", "../servers/apollo-server.ts"],
  ["src/core/planted.ts", "../shop/money.ts"],
  ["src/core/planted.ts", "../stores/sqlite/table.ts"],
  ["src/core/planted.ts", "../index.ts"],
  ["src/core/planted.ts", "./../graphql/outcome.ts"],
  ["src/core/planted.ts", "graphql-idempotent"],
  ["src/graphql/planted.ts", "../servers/apollo-server.ts"],
  ["src/graphql/planted.ts", "../shop/money.ts"],
  ["src/graphql/planted.ts", "../stores/postgres/table.ts"],
  ["src/servers/planted.ts", "../shop/money.ts"],
  ["src/servers/planted.ts", "../stores/sqlite/table.ts"],
  ["src/servers/planted.ts", "../index.ts"],
  ["src/client/planted.ts", "../errors.ts"],
  ["src/client/planted.ts", "../core/key.ts"],
  ["src/client/react/planted.ts", "../../options.ts"],
  ["src/operations/planted.ts", "../core/key.ts"],
  ["src/operations/planted.ts", "../stores/sqlite/table.ts"],
  ["src/operations/console/planted.ts", "../../graphql/outcome.ts"],
  ["src/shop/planted.ts", "../core/key.ts"],
  ["src/shop/planted.ts", "../index.ts"],
  ["src/shop/sqlite/planted.ts", "../../stores/store.ts"],
  ["src/unknown/planted.ts", "../errors.ts"],
] as const;

/** A file, and an address that it may import. */
const allowedImports = [
  ["src/errors.ts", "./protocol.ts"],
  ["src/errors.ts", "graphql"],
  ["src/stores/planted.ts", "../options.ts"],
  ["src/stores/sqlite/planted.ts", "../store.ts"],
  ["src/stores/postgres/drivers/planted.ts", "../../store.ts"],
  ["src/core/planted.ts", "../stores/store.ts"],
  ["src/graphql/planted.ts", "../core/key.ts"],
  ["src/servers/planted.ts", "../graphql/outcome.ts"],
  ["src/client/planted.ts", "../protocol.ts"],
  ["src/operations/planted.ts", "../stores/store.ts"],
  ["src/shop/planted.ts", "graphql-idempotent/sqlite"],
  ["src/shop/sqlite/planted.ts", "../database.ts"],
] as const;

/** Other ways to write an import, by file. */
const forms = {
  "src/core/type-statement.ts": `import type { Outcome } from "../graphql/outcome.ts";\nexport type Planted = Outcome;`,
  "src/core/re-export.ts": `export * from "../graphql/outcome.ts";`,
  "src/core/dynamic.ts": `export const planted = import("../graphql/outcome.ts");`,
  "src/core/template.ts": "export const planted = import(`../graphql/outcome.ts`);",
  "src/core/type-expression.ts": `export type Planted = import("../graphql/outcome.ts").Outcome;`,
} as const;

const circles = {
  "src/core/circle-a.ts": `import { b } from "./circle-b.ts";\nexport const a = () => b;`,
  "src/core/circle-b.ts": `import { a } from "./circle-a.ts";\nexport const b = () => a;`,
  "src/core/circle-of-types-a.ts": `import type { B } from "./circle-of-types-b.ts";\nexport interface A { b: B }`,
  "src/core/circle-of-types-b.ts": `import type { A } from "./circle-of-types-a.ts";\nexport interface B { a: A }`,
  "src/core/dynamic-circle-a.ts": `import { b } from "./dynamic-circle-b.ts";\nexport const a = b;`,
  "src/core/dynamic-circle-b.ts": `export const b = () => import("./dynamic-circle-a.ts");`,
} as const;

const lines = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => line(index)).join("\n");

const lengths = {
  "src/core/file-of-300-lines.ts": lines(300, (index) => `export const a${index} = 0;`),
  "src/core/file-of-301-lines.ts": lines(301, (index) => `export const a${index} = 0;`),
  "src/core/function-of-60-lines.ts": `export function f() {\n${lines(60, (index) => `console.log(${index});`)}\n}`,
  "src/core/function-of-61-lines.ts": `export function f() {\n${lines(61, (index) => `console.log(${index});`)}\n}`,
} as const;

const imports = "lint/style/noRestrictedImports";
const cycles = "lint/suspicious/noImportCycles";

let folder: string;
let diagnostics: string[];
const linesOfImports = new Map<string, number>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "graphql-idempotent-layers-"));
  for (const path of ["src", "biome.json", "biome", "tsconfig.json", ".gitignore"]) {
    cpSync(join(project, path), join(folder, path), { recursive: true });
  }
  for (const [file, address] of [...wrongImports, ...allowedImports]) {
    linesOfImports.set(`${file} ${address}`, plant(file, `import "${address}";`));
  }
  for (const [file, text] of Object.entries({ ...forms, ...circles, ...lengths })) plant(file, text);
  diagnostics = await lint(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Appends text to a file of the copied tree, and returns the number of its first line. */
function plant(file: string, text: string): number {
  const path = join(folder, file);
  mkdirSync(dirname(path), { recursive: true });
  const before = existsSync(path) ? readFileSync(path, "utf8") : "";
  appendFileSync(path, `${text}\n`);
  return before.split("\n").length;
}

/** Runs the project's linter on a folder's sources. Each diagnostic reads `<rule> <file>:<line>`. */
async function lint(cwd: string): Promise<string[]> {
  const biome = join(project, "node_modules/@biomejs/biome/bin/biome");
  const command = [
    biome,
    "lint",
    "--error-on-warnings",
    "--reporter=github",
    "--max-diagnostics=none",
    "src",
  ];
  const { status, stdout, stderr } = await run(process.execPath, command, cwd);
  const found = [...stdout.matchAll(/^::\w+ title=([^,]+),file=[^,]*?(src\/[^,]+),line=(\d+)/gm)].map(
    ([, rule, file, line]) => `${rule} ${file}:${line}`,
  );
  // A linter that doesn't run, for example because of its configuration, must not look like a clean tree.
  if ((status === 0) !== (found.length === 0)) throw new Error(stdout + stderr);
  return found;
}

function run(program: string, command: string[], cwd: string) {
  return new Promise<{ status: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(program, command, { cwd, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
      resolve({ status: error ? error.code : 0, stdout, stderr }),
    );
  });
}

describe("the linter", () => {
  it("accepts the tree as it is", async () => {
    expect(await lint(project)).toEqual([]);
  });

  it.each(wrongImports)("refuses in %s an import of %s", (file, address) => {
    expect(diagnostics).toContain(`${imports} ${file}:${linesOfImports.get(`${file} ${address}`)}`);
  });

  it.each(allowedImports)("accepts in %s an import of %s", (file, address) => {
    expect(diagnostics).not.toContain(`${imports} ${file}:${linesOfImports.get(`${file} ${address}`)}`);
  });

  it.each(Object.keys(forms))("refuses a wrong import in any form: %s", (file) => {
    expect(rulesFor(file)).toEqual([expect.stringMatching(/^(lint\/style\/noRestrictedImports|plugin)$/)]);
  });

  it.each(Object.keys(circles))("refuses a circle: %s", (file) => {
    expect(rulesFor(file)).toEqual([cycles]);
  });

  it.each([
    ["src/core/file-of-300-lines.ts", []],
    ["src/core/file-of-301-lines.ts", ["lint/style/noExcessiveLinesPerFile"]],
    ["src/core/function-of-60-lines.ts", []],
    ["src/core/function-of-61-lines.ts", ["lint/complexity/noExcessiveLinesPerFunction"]],
  ])("limits the lengths of files and functions: %s", (file, expected) => {
    expect(rulesFor(file)).toEqual(expected);
  });
});

function rulesFor(file: string): string[] {
  return diagnostics.filter((text) => text.includes(` ${file}:`)).map((text) => text.split(" ")[0] ?? "");
}
