import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { constants } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { type Answer, leaks } from "./checks.ts";
import { canInterpose, interposed } from "./interpose/interpose.ts";
import { examineShop } from "./shop/books.ts";
import { type Call, order, retryUntilAnswered, send, transfer } from "./shop/client.ts";
import { EndedEarly, killLeftovers, type ShopProcess, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

afterAll(killLeftovers);

const token = "alice-token";
const internals = ["SQLITE", "idempotency_records", "insert into", "INSERT", "    at "];

/** Sends calls until one is refused, as it should be while the fault lasts, and tells what was answered before. */
async function callUntilRefused(
  shop: ShopProcess,
  prefix: string,
): Promise<{ sent: Call[]; answers: Answer[] }> {
  const sent: Call[] = [];
  const answers: Answer[] = [];
  for (let number = 1; number <= 5_000; number++) {
    const call = number % 4 === 0 ? transfer(`${prefix}-${number}`, 1) : order(`${prefix}-${number}`, 1);
    sent.push(call);
    const { status, body } = await send(call, shop.url, token);
    const result = body.data?.[call.field];
    if (!result) {
      expect(status).toBe(503);
      expect(body.errors?.[0]?.extensions).toMatchObject({
        code: "IDEMPOTENCY_STORE_UNAVAILABLE",
        idempotency: { key: call.key, retryable: true, safeToUseNewKey: false },
      });
      expect(leaks(JSON.stringify(body), internals)).toEqual([]);
      return { sent, answers };
    }
    answers.push({ key: call.key, result: JSON.stringify(result) });
  }
  throw new Error("The fault was planted, and no call was refused.");
}

/** The fault is gone: every key gets its answer, and after a restart the books show all of them. */
async function expectRecovery(
  shop: ShopProcess,
  databaseFile: string,
  { sent, answers }: { sent: Call[]; answers: Answer[] },
): Promise<void> {
  for (const call of sent) {
    const answer = await retryUntilAnswered(call, { url: () => shop.url });
    if (answer) answers.push(answer);
  }
  await end(shop);
  expect(
    examineShop(
      databaseFile,
      sent.map(({ key }) => key),
      answers,
    ),
  ).toEqual([]);
}

async function end(shop: ShopProcess): Promise<void> {
  shop.signal("SIGTERM");
  expect(await shop.ended).toEqual({ code: 0, signal: null });
}

describe.runIf(canInterpose())("while the disk fails", () => {
  it.each([
    ["writes end in an I/O error", "W", "EIO"],
    ["syncs end in an I/O error", "S", "EIO"],
    ["the disk is full", "W", "ENOSPC"],
    ["the quota is used up", "W", "EDQUOT"],
    ["the file system has become read-only", "WST", "EROFS"],
  ] as const)(
    "%s: calls get 503, and take their effect once when it is over",
    async (_name, operations, name) => {
      const databaseFile = join(temporaryFolder(), "shop.db");
      const faults = `${databaseFile}.faults`;
      const shop = await startShopProcess({
        databaseFile,
        env: interposed({ watch: `${databaseFile}-wal`, faults }),
      });
      const before = await retryUntilAnswered(order("before", 1), { url: () => shop.url });

      writeFileSync(faults, `${operations} ${constants.errno[name]}`);
      const history = await callUntilRefused(shop, "during");
      // What needs no writing goes on.
      expect(await retryUntilAnswered(order("before", 1), { url: () => shop.url })).toEqual(before);

      rmSync(faults);
      await expectRecovery(shop, databaseFile, history);
    },
  );
});

describe.runIf(canMount())("on a small file system of its own", () => {
  function smallDisk(): string {
    const disk = join(temporaryFolder(), "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
    onTestFinished(() => void execFileSync("umount", ["--lazy", disk]));
    return disk;
  }

  it("a disk that fills up refuses calls, and takes them when there is room again", async () => {
    const disk = smallDisk();
    const databaseFile = join(disk, "shop.db");
    const shop = await startShopProcess({ databaseFile });
    const ballast = join(disk, "ballast");
    try {
      writeFileSync(ballast, Buffer.alloc(4 * 1024 * 1024));
    } catch {
      // it has taken all the room that there was
    }
    const history = await callUntilRefused(shop, "full");
    rmSync(ballast);
    await expectRecovery(shop, databaseFile, history);
  });

  it("a file system that is read-only ends the start with one line", async () => {
    const disk = smallDisk();
    const databaseFile = join(disk, "shop.db");
    const other = await startShopProcess({ databaseFile });
    await retryUntilAnswered(order("before", 1), { url: () => other.url });
    await end(other);
    execFileSync("mount", ["-o", "remount,ro", disk]);
    await expect(startShopProcess({ databaseFile })).rejects.toThrow(
      /^The server ended before it was open, with exit code 1: The database file \S+ can't be used: [^\n]* let this user write to it[^\n]*\n$/,
    );
    execFileSync("mount", ["-o", "remount,rw", disk]);
    await end(await startShopProcess({ databaseFile }));
  });
});

describe("what others do to the file", () => {
  it("a lock that is held for too long gets 503, and leaves the server responsive", async () => {
    const databaseFile = join(temporaryFolder(), "shop.db");
    const shop = await startShopProcess({ databaseFile, canBeHastened: true });
    const other = new Sqlite(databaseFile);
    other.exec("BEGIN IMMEDIATE");
    const refused = callUntilRefused(shop, "locked");
    const query = await send({ query: "{ viewer { name } }", variables: {} }, shop.url, token);
    expect(query.body.data).toEqual({ viewer: { name: "Alice" } });
    shop.signal("SIGUSR2");
    const history = await refused;
    other.exec("COMMIT");
    other.close();
    await expectRecovery(shop, databaseFile, history);
  });

  it.each([
    ["orders", "order"],
    ["idempotency_records", "record"],
  ])(
    "without the table %s, calls get an error that shows nothing, and run when it is back",
    async (table) => {
      const databaseFile = join(temporaryFolder(), "shop.db");
      const shop = await startShopProcess({ databaseFile });
      const other = new Sqlite(databaseFile);
      other.exec(`ALTER TABLE ${table} RENAME TO gone`);
      const { status, body } = await send(order("during", 1), shop.url, token);
      expect(status).toBe(200);
      expect(body.data).toBeNull();
      expect(body.errors).toMatchObject([
        { message: "Internal server error", extensions: { code: "INTERNAL_SERVER_ERROR" } },
      ]);
      expect(leaks(JSON.stringify(body), [table, ...internals])).toEqual([]);
      other.exec(`ALTER TABLE gone RENAME TO ${table}`);
      other.close();
      await expectRecovery(shop, databaseFile, { sent: [order("during", 1)], answers: [] });
    },
  );

  it("a corrupt page is never taken for a result", async () => {
    const databaseFile = join(temporaryFolder(), "shop.db");
    const first = await startShopProcess({ databaseFile });
    await retryUntilAnswered(order("before", 1), { url: () => first.url });
    await end(first);
    corruptRootOf(databaseFile, "orders");

    const shop = await startShopProcess({ databaseFile });
    const { status, body } = await send(order("after", 1), shop.url, token);
    expect(status).toBe(503);
    expect(body.errors?.[0]?.extensions?.code).toBe("IDEMPOTENCY_STORE_UNAVAILABLE");
    expect(leaks(JSON.stringify(body), internals)).toEqual([]);
    expect((await send({ query: "{ viewer { name } }", variables: {} }, shop.url, token)).status).toBe(200);
    await end(shop);
  });

  it("a file that is no database ends the start with one line", async () => {
    const databaseFile = join(temporaryFolder(), "shop.db");
    writeFileSync(databaseFile, "x".repeat(8_192));
    const start = startShopProcess({ databaseFile });
    await expect(start).rejects.toThrow(EndedEarly);
    await expect(start).rejects.toThrow(/with exit code 1: [^\n]*it is no SQLite database[^\n]*\n$/);
  });

  it("a file that is moved away acknowledges nothing more, since nobody would find it there", async () => {
    const folder = join(temporaryFolder(), "data");
    mkdirSync(folder);
    const databaseFile = join(folder, "shop.db");
    const shop = await startShopProcess({ databaseFile });
    const before = await retryUntilAnswered(order("before", 1), { url: () => shop.url });
    renameSync(folder, `${folder}-moved`);
    const history = await callUntilRefused(shop, "during");
    expect(history.answers).toEqual([]);
    renameSync(`${folder}-moved`, folder);
    if (before) history.answers.push(before);
    history.sent.push(order("before", 1));
    await expectRecovery(shop, databaseFile, history);
  });
});

describe.runIf(process.platform === "linux")("when the process may open no more files", () => {
  it("connections wait or fail, and those that come after are served", async () => {
    const databaseFile = join(temporaryFolder(), "shop.db");
    const shop = await startShopProcess({ databaseFile });
    const most = 50;
    execFileSync("prlimit", [`--pid=${shop.pid}`, `--nofile=${most}`]);
    const idle: Socket[] = [];
    for (let count = 0; count < 100; count++) {
      const socket = connect(shop.port, "127.0.0.1").on("error", () => {});
      idle.push(socket);
    }
    while (readdirSync(`/proc/${shop.pid}/fd`).length < most) await sleep(10);
    const unanswered = await send(order("during", 1), shop.url, token).then(
      ({ body }) => body.data?.createOrder === undefined,
      () => true,
    );
    expect(unanswered).toBe(true);
    for (const socket of idle) socket.destroy();
    await expectRecovery(shop, databaseFile, { sent: [order("during", 1)], answers: [] });
  });
});

/** Overwrites the root page of a table and of its indexes. */
function corruptRootOf(databaseFile: string, table: string): void {
  const connection = new Sqlite(databaseFile);
  const bytes = connection.serialize();
  const roots = connection
    .prepare("SELECT rootpage FROM sqlite_schema WHERE tbl_name = ?")
    .pluck()
    .all(table) as number[]; // `as`: the column is an integer
  connection.close();
  for (const root of roots) bytes.fill(0xff, (root - 1) * 4_096, root * 4_096);
  writeFileSync(databaseFile, bytes);
}

function canMount(): boolean {
  const canTry = process.platform === "linux" && process.getuid?.() === 0;
  if (!canTry)
    console.warn("The attacks that fill up a file system are left out: they require root on Linux.");
  return canTry;
}
