import { describe, expect, it } from "vitest";
import { entries, openEntries, type Tx } from "./entries-database.ts";

describe("tx", () => {
  it.each(["run", "get", "all", "values"] as const)(
    "that was kept writes nothing any more, also by %s() of an INSERT … RETURNING",
    async (how) => {
      await using opened = await openEntries();
      const kept = await opened.database.write((tx) => ({ tx }));
      await opened.database.write(() => {
        const late = () => kept.tx.insert(entries).values({ text: "late" }).returning()[how]();
        expect(late).toThrow("This transaction is over");
      });
      expect(opened.texts()).toEqual([]);
    },
  );
});

describe("tx.transaction()", () => {
  it("that ends after its call's deadline ends no nested transaction of another call", async () => {
    await using opened = await openEntries({ database: { deadlineMs: 50 } });
    let goOn = (): void => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let late: Promise<unknown> = Promise.resolve();
    const slow = opened.database.write((tx: Tx) => {
      late = tx.transaction(() => gate);
      return late;
    });
    await expect(slow).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    await opened.database.write(async (tx) => {
      const failing = tx.transaction(async (nested) => {
        nested.insert(entries).values({ text: "undone" }).run();
        goOn();
        await expect(late).rejects.toThrow("This transaction is over");
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      tx.insert(entries).values({ text: "kept" }).run();
    });
    expect(opened.texts()).toEqual(["kept"]);
  });
});
