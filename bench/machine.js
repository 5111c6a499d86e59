// What the figures come from: they mean little without it.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { promisify } from "node:util";
import Sqlite from "better-sqlite3";

const ownPackages = [
  "@apollo/server",
  "@as-integrations/express5",
  "better-sqlite3",
  "drizzle-orm",
  "express",
  "graphql",
];

export async function describeMachine(folder) {
  const [cpu] = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpu?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    fileSystem: await fileSystemOf(folder),
    fsyncMs: measureFsync(folder),
    node: process.version,
    sqlite: new Sqlite(":memory:").prepare("SELECT sqlite_version()").pluck().get(),
    packages: await versions(),
  };
}

async function fileSystemOf(folder) {
  try {
    const { stdout } = await promisify(execFile)("stat", ["--file-system", "--format=%T", folder]);
    return stdout.trim();
  } catch {
    return "unknown"; // only GNU's stat answers
  }
}

/** Median of what one commit of one row waits for the disk. */
function measureFsync(folder) {
  const connection = new Sqlite(`${folder}/fsync.db`);
  connection.pragma("journal_mode = WAL");
  connection.exec("CREATE TABLE t (x)");
  const insert = connection.prepare("INSERT INTO t VALUES (1)");
  const timeOf = (level) => {
    connection.pragma(`synchronous = ${level}`);
    const times = Array.from({ length: 201 }, () => {
      const started = performance.now();
      insert.run();
      return performance.now() - started;
    });
    return times.sort((a, b) => a - b)[100];
  };
  const ms = timeOf("FULL") - timeOf("OFF");
  connection.close();
  return ms;
}

async function versions() {
  const { version } = await readJson(new URL("../package.json", import.meta.url));
  const bench = await readJson(new URL("package.json", import.meta.url));
  const found = { "graphql-idempotent": version };
  for (const [root, names] of [
    ["../node_modules/", ownPackages],
    ["node_modules/", Object.keys(bench.dependencies)],
  ]) {
    for (const name of names) {
      found[name] = (await readJson(new URL(`${root}${name}/package.json`, import.meta.url))).version;
    }
  }
  return found;
}

async function readJson(url) {
  return JSON.parse(await readFile(url, "utf8"));
}
