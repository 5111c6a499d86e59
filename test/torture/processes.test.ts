import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { canInterpose } from "./interpose/interpose.ts";
import { endAll, sameKeysEverywhere, startStoppableShop } from "./processes.ts";
import { examineShop } from "./shop/books.ts";
import { order, retryUntilAnswered, send } from "./shop/client.ts";
import { killLeftovers, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

afterAll(killLeftovers);

describe("several processes on one file", () => {
  it("give one effect and one answer to each key that all of them get at once", async () => {
    const databaseFile = join(temporaryFolder(), "shop.db");
    const report = await sameKeysEverywhere({ databaseFile, servers: 4, keys: 60, seed: 1 });
    expect(report).toEqual({ answers: 240, findings: [] });
  });

  describe.runIf(canInterpose())("one of which is stopped while it holds the lock", () => {
    it.each(["SIGCONT", "SIGKILL"] as const)(
      "stay responsive, refuse at their bound, and recover after %s",
      async (end) => {
        const databaseFile = join(temporaryFolder(), "shop.db");
        const stopped = await startStoppableShop(databaseFile);
        const other = await startShopProcess({ databaseFile, canBeHastened: true });
        const before = await retryUntilAnswered(order("before", 1), { url: () => other.url });

        stopped.stopInCommit();
        const caught = send(order("caught", 1), stopped.url, "alice-token").catch(() => undefined);
        await stopped.hasStopped();

        let isRefused = false;
        const refused = send(order("refused", 1), other.url, "alice-token").finally(() => {
          isRefused = true;
        });
        const replay = await retryUntilAnswered(order("before", 1), { url: () => other.url });
        const query = await send({ query: "{ viewer { name } }", variables: {} }, other.url, "alice-token");
        expect(isRefused).toBe(false); // while one call waits for the lock, others have been answered
        expect(replay).toEqual(before);
        expect(query.body.data).toEqual({ viewer: { name: "Alice" } });

        other.signal("SIGUSR2");
        const { status, body, response } = await refused;
        expect(status).toBe(503);
        expect(response.headers.get("retry-after")).toBe("1");
        expect(body.errors?.[0]?.extensions).toMatchObject({
          code: "IDEMPOTENCY_STORE_UNAVAILABLE",
          idempotency: { key: "refused", retryable: true, safeToUseNewKey: false },
        });

        if (end === "SIGCONT") stopped.goOn();
        else stopped.signal("SIGKILL");
        await caught;
        const keys = ["before", "refused", "caught"];
        const answers = await Promise.all(
          keys.map((key) => retryUntilAnswered(order(key, 1), { url: () => other.url })),
        );
        await endAll([other, stopped]);
        const answered = answers.flatMap((answer) => answer ?? []);
        expect(examineShop(databaseFile, keys, answered)).toEqual([]);
      },
    );
  });
});
