import { type Once, type OnceOptions, once, onceExternal } from "graphql-idempotent";
import { v4, v7 } from "uuid";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Entries, type Entry, noon, type OpenEntries } from "./entries.ts";

const hour = 3_600_000;
const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };
const expired = { code: "IDEMPOTENCY_KEY_EXPIRED" };

/** UUIDv7 begin with the time at which they were made: after the retention they are refused, not run again. */
export function keyAgeSuite<Tx>(open: OpenEntries<Tx>): void {
  let opened: Entries<Tx>;

  beforeEach(async () => {
    opened = await open();
  });

  afterEach(() => opened[Symbol.asyncDispose]());

  function addOnce(options: OnceOptions, text: string): Promise<Once<Entry>> {
    return once(opened.store, options, (tx) => opened.insert(tx, text));
  }

  function addUnderLease(options: OnceOptions, text: string): Promise<Once<Entry>> {
    return onceExternal(opened.store, options, ({ write }) =>
      write("entry", (tx) => opened.insert(tx, text)),
    );
  }

  const keyOf = (age: number) => v7({ msecs: noon - age });

  describe.each([
    ["in a transaction", addOnce],
    ["under a lease", addUnderLease],
  ])("%s", (_where, add) => {
    it("runs while it is younger than the retention, by the store's clock", async () => {
      expect(await add({ ...call, key: keyOf(24 * hour - 1) }, "a")).toMatchObject({ replayed: false });
      expect(await add({ ...call, key: keyOf(-hour) }, "b")).toMatchObject({ replayed: false });
    });

    it.each([24 * hour, 24 * hour + 1, noon])(
      "is refused at an age of %i ms, and nothing runs",
      async (age) => {
        const key = keyOf(age);
        for (const sent of [key, key.toUpperCase()]) {
          await expect(add({ ...call, key: sent }, "a")).rejects.toMatchObject({
            ...expired,
            message: `This idempotency key was made at ${new Date(noon - age).toISOString()}, and results are kept for 86400 seconds: whether the call ran before can't be told any more. Look for its effect; if there is none, make a new key.`,
            extensions: { idempotency: { key: sent, retryable: false, safeToUseNewKey: false } },
          });
        }
        expect(await opened.texts()).toEqual([]);
      },
    );

    it("replays as long as its record lives, however old it is, and never runs again after that", async () => {
      const options = { ...call, key: keyOf(23 * hour) };
      await add(options, "a");
      opened.clock.now = noon + 24 * hour - 1;
      expect(await add(options, "b")).toMatchObject({ replayed: true });
      opened.clock.now = noon + 24 * hour;
      await expect(add(options, "b")).rejects.toMatchObject(expired);
    });

    // Ahead by exactly the retention is the most that is made up for.
    it.each([hour, 24 * hour])(
      "from a clock that is %i ms ahead replays until it is refused for its age, with no moment between",
      async (ahead) => {
        const options = { ...call, key: keyOf(-ahead) };
        const { expiresAt } = await add(options, "a");
        expect(expiresAt).toEqual(new Date(noon + ahead + 24 * hour));
        opened.clock.now = noon + ahead + 24 * hour - 1;
        expect(await add(options, "b")).toMatchObject({ replayed: true });
        opened.clock.now = noon + ahead + 24 * hour;
        await expect(add(options, "b")).rejects.toMatchObject(expired);
      },
    );

    it("from a clock that is ahead by more than the retention is kept no longer than other keys", async () => {
      const { expiresAt } = await add({ ...call, key: keyOf(-25 * hour) }, "a");
      expect(expiresAt).toEqual(new Date(noon + 24 * hour));
    });

    it("that was used at the moment it was made is not run again at the moment its record ends", async () => {
      const options = { ...call, key: keyOf(0) };
      await add(options, "a");
      opened.clock.now = noon + 24 * hour;
      await expect(add(options, "b")).rejects.toMatchObject(expired);
    });

    it("is measured by the retention of the call, and not told by other keys", async () => {
      const old = { ...call, key: keyOf(hour) };
      await expect(add({ ...old, retention: "1h" }, "a")).rejects.toMatchObject(expired);
      expect(await add({ ...old, retention: "2h" }, "b")).toMatchObject({ replayed: false });
      expect(await add({ ...call, key: v4(), retention: "1s" }, "c")).toMatchObject({ replayed: false });
    });
  });
}
