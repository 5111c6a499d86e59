import { GraphQLError } from "graphql";
import { type OnceOptions, once, onceExternal, SHARED } from "graphql-idempotent";
import { describe, expect, it, vi } from "vitest";
import { type Entries, noon, type OpenEntries } from "./entries.ts";

const call: OnceOptions = { scope: SHARED, field: "add", key: "key", retention: "1s" };

/** What a store promises of its records, whatever the store. */
export function recordSuite<Tx>(open: OpenEntries<Tx>): void {
  function add({ insert }: Entries<Tx>, text: string) {
    return (tx: Tx) => insert(tx, text);
  }

  /** Records that end one second after noon, all at once. */
  async function keep({ store }: Entries<Tx>, count: number): Promise<void> {
    const keys = Array.from({ length: count }, (_, index) => `key ${index}`);
    await Promise.all(keys.map((key) => once(store, { ...call, key }, () => key)));
  }

  describe("the store's clock", () => {
    it("is the one that was given", async () => {
      await using opened = await open();
      await once(opened.store, call, add(opened, "a"));
      expect(await opened.records()).toMatchObject([{ createdAt: noon, expiresAt: noon + 1_000 }]);
      expect(opened.store.now()).toBe(noon);
    });

    it("is the system's unless told otherwise", async () => {
      await using opened = await open({ now: Date.now });
      const before = Date.now();
      const { createdAt } = await once(opened.store, call, add(opened, "a"));
      expect(createdAt.getTime()).toBeGreaterThanOrEqual(before);
      expect(createdAt.getTime()).toBeLessThanOrEqual(Date.now());
    });

    it("dates a record at the end of its call, so that the whole retention is left", async () => {
      await using opened = await open();
      const { createdAt } = await once(opened.store, call, () => {
        opened.clock.now += 500;
        return 1;
      });
      expect(createdAt).toEqual(new Date(noon + 500));
    });

    it.each([
      ["once()", once],
      ["onceExternal()", onceExternal],
    ])("dates an error that is the result at the end of its call too: %s", async (_name, run) => {
      await using opened = await open();
      const failing = run(opened.store, { ...call, errors: "REPLAY" }, () => {
        opened.clock.now += 500;
        throw new GraphQLError("Sold out");
      });
      await expect(failing).rejects.toThrow("Sold out");
      expect(await opened.records()).toMatchObject([{ createdAt: noon + 500, expiresAt: noon + 1_500 }]);
    });
  });

  describe("an expired record", () => {
    it("never replays, though it has not been purged, and is replaced by the new one", async () => {
      await using opened = await open();
      await once(opened.store, { ...call, input: "old arguments" }, add(opened, "a"));
      opened.clock.now = noon + 999;
      const live = await once(opened.store, { ...call, input: "old arguments" }, add(opened, "b"));
      expect(live).toMatchObject({ replayed: true });
      opened.clock.now = noon + 1_000;
      expect(await opened.store.find({ scope: "", field: "add", key: "key" })).toBeUndefined();
      expect(await opened.records()).toHaveLength(1);
      expect(await once(opened.store, call, add(opened, "b"))).toMatchObject({
        replayed: false,
        result: { text: "b" },
      });
      expect(await opened.records()).toMatchObject([
        { createdAt: noon + 1_000, resourceId: "2", payload: '{"id":2,"text":"b"}' },
      ]);
      expect(await once(opened.store, call, add(opened, "c"))).toMatchObject({
        replayed: true,
        result: { text: "b" },
      });
    });

    it("stays when the call that would replace it fails", async () => {
      await using opened = await open();
      await once(opened.store, call, add(opened, "a"));
      opened.clock.now = noon + 1_000;
      const failing = once(opened.store, call, () => {
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      expect(await opened.records()).toMatchObject([{ createdAt: noon }]);
    });

    it("runs once more, however many duplicates come at that moment", async () => {
      await using opened = await open();
      await once(opened.store, call, add(opened, "a"));
      opened.clock.now = noon + 1_000;
      const duplicates = Array.from({ length: 50 }, () => once(opened.store, call, add(opened, "b")));
      const results = await Promise.all(duplicates);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(await opened.texts()).toEqual(["a", "b"]);
    });
  });

  describe("purge()", () => {
    it("deletes what has expired and nothing else, and tells how many that were", async () => {
      await using opened = await open();
      await keep(opened, 7);
      await once(opened.store, { ...call, key: "live", retention: "1d" }, () => 1);
      expect(await opened.store.purge()).toBe(0);
      opened.clock.now = noon + 1_000;
      expect(await opened.store.purge()).toBe(7);
      expect(await opened.records()).toMatchObject([{ key: "live" }]);
    });

    it("deletes each record once when several processes purge at the same time", async () => {
      await using opened = await open();
      await keep(opened, 250);
      opened.clock.now = noon + 1_000;
      const another = await opened.another();
      const counts = await Promise.all([opened.store.purge(), another.purge(), opened.store.purge()]);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(250);
      expect(await opened.records()).toEqual([]);
    });

    it("runs by itself", async () => {
      await using opened = await open({ purgeEveryMs: 5 });
      await keep(opened, 3);
      await once(opened.store, { ...call, key: "live", retention: "1d" }, () => 1);
      opened.clock.now = noon + 1_000;
      await vi.waitFor(async () => expect(await opened.records()).toMatchObject([{ key: "live" }]));
    });
  });

  describe("a look-up", () => {
    it("does not wait for a transaction", async () => {
      await using opened = await open();
      await once(opened.store, call, add(opened, "a"));
      let found: unknown;
      await opened.store.write(async (tx) => {
        await opened.insert(tx, "b");
        found = await once(opened.store, call, add(opened, "c"));
      });
      expect(found).toMatchObject({ replayed: true, result: { text: "a" } });
    });

    it("of many keys at once gives each call its own record", async () => {
      await using opened = await open();
      await keep(opened, 100);
      const keys = Array.from({ length: 150 }, (_, index) => `key ${149 - index}`);
      const found = keys.map(async (key) => (await opened.store.find({ scope: "", field: "add", key }))?.key);
      const expected = keys.map((_, index) => (index < 50 ? undefined : `key ${149 - index}`));
      expect(await Promise.all(found)).toEqual(expected);
    });
  });

  describe("write()", () => {
    it("keeps all of a transaction without a key, or nothing", async () => {
      await using opened = await open();
      expect(await opened.store.write((tx) => opened.insert(tx, "a"))).toEqual({ id: 1, text: "a" });
      const failing = opened.store.write(async (tx) => {
        await opened.insert(tx, "b");
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      expect(await opened.texts()).toEqual(["a"]);
      expect(await opened.records()).toEqual([]);
    });
  });

  it("a record has the key beside the resource's ID and the response, readable as they are", async () => {
    await using opened = await open();
    await once(opened.store, { ...call, scope: 'al\'ice \\ "bob" $1' }, add(opened, 'it\'s a \\ "note" $2'));
    expect(await opened.records()).toMatchObject([
      {
        scope: 'al\'ice \\ "bob" $1',
        field: "add",
        key: "key",
        resourceId: "1",
        format: "json",
        payload: String.raw`{"id":1,"text":"it's a \\ \"note\" $2"}`,
      },
    ]);
  });
}
