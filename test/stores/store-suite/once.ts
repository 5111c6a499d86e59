import { GraphQLError } from "graphql";
import { IdempotencyError, type OnceOptions, once, SHARED, type Store } from "graphql-idempotent";
import { v4, v7 } from "uuid";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Entries, held, noon, type OpenEntries } from "./entries.ts";

const hour = 3_600_000;
const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };

/** Lets everything happen that needs no more than the event loop. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What once() promises, whatever the store. */
export function onceSuite<Tx>(open: OpenEntries<Tx>): void {
  let opened: Entries<Tx>;
  let store: Store<Tx>;

  beforeEach(async () => {
    opened = await open();
    store = opened.store;
  });

  afterEach(() => opened[Symbol.asyncDispose]());

  /** What a call does in these tests: it writes an entry and returns it. */
  function add(text: string) {
    return (tx: Tx) => opened.insert(tx, text);
  }

  describe("once()", () => {
    it("runs a call, and replays its result to every retry", async () => {
      const first = await once(store, call, add("a"));
      expect(first).toEqual({
        result: { id: 1, text: "a" },
        replayed: false,
        resourceId: "1",
        createdAt: new Date(noon),
        expiresAt: new Date(noon + 24 * hour),
      });
      opened.clock.now += hour;
      for (let retry = 0; retry < 3; retry += 1) {
        expect(await once(store, call, add("never"))).toEqual({ ...first, replayed: true });
      }
      expect(await opened.texts()).toEqual(["a"]);
    });

    it("runs 200 concurrent duplicates once, and gives each a result of its own", async () => {
      const calls = Array.from({ length: 200 }, () => once(store, call, add("a")));
      const results = await Promise.all(calls);
      expect(await opened.texts()).toEqual(["a"]);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(new Set(results.map(({ result }) => result)).size).toBe(200);
      for (const { result } of results) expect(result).toEqual({ id: 1, text: "a" });
    });

    it("keeps nothing of a call that throws, throws what it threw, and runs its retry", async () => {
      const fault = new Error("The printer is out of paper.");
      const failing = once(store, call, async (tx) => {
        await add("a")(tx);
        throw fault;
      });
      await expect(failing).rejects.toBe(fault);
      expect(await opened.texts()).toEqual([]);
      expect(await once(store, call, add("b"))).toMatchObject({ replayed: false, result: { text: "b" } });
    });

    it("keeps nothing of a call whose result can't be stored", async () => {
      const failing = once(store, call, async (tx) => ({ entry: await add("a")(tx), print: () => 1 }));
      await expect(failing).rejects.toMatchObject({
        code: "IDEMPOTENCY_RESULT_UNSTORABLE",
        message: expect.stringContaining("result.print is a function"),
        extensions: { idempotency: { key: "key" } },
      });
      expect(await opened.texts()).toEqual([]);
    });

    it.each([[null], [undefined], [0], [""], [false], [new Date(0)], [[1n]]])(
      "replays %s as it is",
      async (result) => {
        let ran = 0;
        const run = () => {
          ran += 1;
          return result;
        };
        expect((await once(store, call, run)).result).toEqual(result);
        expect((await once(store, call, run)).result).toEqual(result);
        expect(ran).toBe(1);
      },
    );

    it.each<[string, string | undefined, unknown, string | null]>([
      ["id unless told otherwise", undefined, { id: "a" }, "a"],
      ["a path", "order.id", { order: { id: 7n } }, "7"],
      ["nothing where the path ends early", "order.id", { order: null }, null],
      ["nothing that is no ID", undefined, { id: { a: 1 } }, null],
    ])("finds the resource's ID: %s", async (_what, resourceId, result, expected) => {
      const options = { ...call, ...(resourceId && { resourceId }) };
      expect((await once(store, options, () => result)).resourceId).toBe(expected);
      expect((await opened.records())[0]?.resourceId).toBe(expected);
    });

    it("tells apart scopes, fields and keys, also while they run", async () => {
      const others = [
        call,
        { ...call, scope: "bob" },
        { ...call, scope: SHARED } as const,
        { ...call, field: "entries.remove" },
        { ...call, key: "KEY" },
        { ...call, key: "key2" },
      ];
      for (const expected of [false, true]) {
        const results = await Promise.all(others.map((other, index) => once(store, other, add(`${index}`))));
        expect(results.map(({ replayed }) => replayed)).toEqual(others.map(() => expected));
        expect(results.map(({ result }) => result?.text)).toEqual(others.map((_, index) => `${index}`));
      }
    });
  });

  describe("a duplicate of a running call", () => {
    it("waits for its result", async () => {
      const first = held(add("a"));
      const running = once(store, call, first.run);
      await first.started;
      const duplicate = once(store, call, add("b"));
      first.release();
      expect(await duplicate).toEqual({ ...(await running), replayed: true });
    });

    it("is rejected at once with REJECT, and replays when the first is done", async () => {
      const first = held(add("a"));
      const running = once(store, call, first.run);
      await first.started;
      await expect(once(store, { ...call, concurrent: "REJECT" }, add("b"))).rejects.toMatchObject({
        code: "IDEMPOTENCY_CONCURRENT_REQUEST",
        extensions: { idempotency: { key: "key", retryable: true, safeToUseNewKey: false } },
      });
      first.release();
      await running;
      expect(await once(store, { ...call, concurrent: "REJECT" }, add("b"))).toMatchObject({
        replayed: true,
      });
    });

    it("waits no longer than its bound, and the first is not disturbed by that", async () => {
      const first = held(add("a"));
      const running = once(store, call, first.run);
      await first.started;
      await expect(once(store, { ...call, waitMs: 5 }, add("b"))).rejects.toMatchObject({
        code: "IDEMPOTENCY_CONCURRENT_REQUEST",
      });
      first.release();
      expect(await running).toMatchObject({ replayed: false });
    });

    it("is not failed with a call that fails, but runs itself", async () => {
      const first = held(add("a"));
      const running = once(store, call, first.run);
      await first.started;
      const duplicates = ["b", "c", "d"].map((text) => once(store, call, add(text)));
      first.release(new Error("The first failed."));
      await expect(running).rejects.toThrow("The first failed.");
      const results = await Promise.all(duplicates);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(await opened.texts()).toHaveLength(1);
      for (const { result } of results) expect(result?.text).toBe((await opened.texts())[0]);
    });

    it("with other arguments is refused while the first still runs, and after", async () => {
      const first = held(add("a"));
      const running = once(store, { ...call, input: { amount: 1 } }, first.run);
      await first.started;
      const refusal = {
        code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
        extensions: { idempotency: { key: "key" } },
      };
      const other = { ...call, input: { amount: 2 } };
      await expect(once(store, other, add("b"))).rejects.toMatchObject(refusal);
      first.release();
      await running;
      await expect(once(store, other, add("b"))).rejects.toMatchObject(refusal);
      await expect(once(store, { ...call, input: undefined }, add("b"))).rejects.toMatchObject(refusal);
    });

    it("may differ in what is ignored", async () => {
      const ignore = ["sentAt", "lines.note"];
      const input = (note: string) => ({ sentAt: note, lines: [{ note, amount: 1 }] });
      await once(store, { ...call, ignore, input: input("first") }, add("a"));
      expect(await once(store, { ...call, ignore, input: input("again") }, add("b"))).toMatchObject({
        replayed: true,
      });
    });
  });

  describe("two stores on one database", () => {
    it("run a call once between them, and replay each other's results", async () => {
      const stores = [store, await opened.another()];
      const calls = Array.from({ length: 40 }, (_, index) =>
        once(stores[index % 2] ?? store, call, add("a")),
      );
      const results = await Promise.all(calls);
      expect(await opened.texts()).toEqual(["a"]);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    });

    it("refuse every duplicate with other arguments, also those that waited for one that was refused", async () => {
      const otherStore = await opened.another();
      const first = held(add("a"));
      const running = once(store, { ...call, input: 1 }, first.run);
      await first.started;
      // Both look for the record before it is there; then the one waits for the lock, the other for the one.
      const late = ["b", "c"].map((text) => once(otherStore, { ...call, input: 2 }, add(text)));
      const refused = Promise.allSettled(late);
      await settled();
      first.release();
      await running;
      for (const { status, ...rest } of await refused) {
        expect({ status, ...rest }).toMatchObject({
          status: "rejected",
          reason: { code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" },
        });
      }
      expect(await opened.texts()).toEqual(["a"]);
    });
  });

  describe("errors: REPLAY", () => {
    const replaying: OnceOptions = { ...call, errors: "REPLAY" };

    it("makes a GraphQLError the result, now and on every retry, and rolls back what was written", async () => {
      let ran = 0;
      const run = async (tx: Tx) => {
        ran += 1;
        await add("a")(tx);
        throw new GraphQLError("Sold out", { extensions: { code: "SOLD_OUT", left: 0 } });
      };
      for (let attempt = 0; attempt < 3; attempt += 1) {
        await expect(once(store, replaying, run)).rejects.toMatchObject({
          message: "Sold out",
          extensions: { code: "SOLD_OUT", left: 0 },
        });
      }
      expect(ran).toBe(1);
      expect(await opened.texts()).toEqual([]);
    });

    it("gives the same error to those who waited", async () => {
      const first = held(add("a"));
      const running = Promise.allSettled([once(store, replaying, first.run)]);
      await first.started;
      const waiting = Promise.allSettled([once(store, replaying, add("b"))]);
      first.release(new GraphQLError("Sold out"));
      const reason = expect.objectContaining({ message: "Sold out" });
      expect(await running).toEqual([{ status: "rejected", reason }]);
      expect(await waiting).toEqual([{ status: "rejected", reason }]);
      expect(await opened.texts()).toEqual([]);
    });

    it.each([
      ["a fault", new Error("a"), Error],
      [
        "an error of this package, which is about the call",
        new IdempotencyError("IDEMPOTENCY_STORE_UNAVAILABLE", "a"),
        IdempotencyError,
      ],
    ])("never replays %s", async (_what, error, type) => {
      const run = async (tx: Tx) => {
        await add("a")(tx);
        throw error;
      };
      await expect(once(store, replaying, run)).rejects.toThrow(type);
      expect(await once(store, replaying, add("b"))).toMatchObject({ replayed: false });
      expect(await opened.texts()).toEqual(["b"]);
    });

    it("does not replay an error that can't be stored, and rolls back", async () => {
      const run = async (tx: Tx) => {
        await add("a")(tx);
        throw new GraphQLError("a", { extensions: { left: 1n } });
      };
      await expect(once(store, replaying, run)).rejects.toMatchObject({
        code: "IDEMPOTENCY_RESULT_UNSTORABLE",
      });
      expect(await once(store, replaying, add("b"))).toMatchObject({ replayed: false });
    });
  });

  describe("a key that tells its age", () => {
    const keyOf = (age: number) => v7({ msecs: noon - age });

    it("runs while it is younger than the retention, by the store's clock", async () => {
      expect(await once(store, { ...call, key: keyOf(24 * hour - 1) }, add("a"))).toMatchObject({
        replayed: false,
      });
      expect(await once(store, { ...call, key: keyOf(-hour) }, add("b"))).toMatchObject({ replayed: false });
    });

    it.each([24 * hour, 24 * hour + 1, noon])(
      "is refused at an age of %i ms, and nothing runs",
      async (age) => {
        const key = keyOf(age);
        for (const sent of [key, key.toUpperCase()]) {
          await expect(once(store, { ...call, key: sent }, add("a"))).rejects.toMatchObject({
            code: "IDEMPOTENCY_KEY_EXPIRED",
            message: `This idempotency key was made at ${new Date(noon - age).toISOString()}, and results are kept for 86400 seconds: whether the call ran before can't be told any more. Look for its effect; if there is none, make a new key.`,
            extensions: { idempotency: { key: sent, retryable: false, safeToUseNewKey: false } },
          });
        }
        expect(await opened.texts()).toEqual([]);
      },
    );

    it("replays as long as its record lives, however old it is, and never runs again after that", async () => {
      const options = { ...call, key: keyOf(23 * hour) };
      await once(store, options, add("a"));
      opened.clock.now = noon + 24 * hour - 1;
      expect(await once(store, options, add("b"))).toMatchObject({ replayed: true });
      opened.clock.now = noon + 24 * hour;
      await expect(once(store, options, add("b"))).rejects.toMatchObject({ code: "IDEMPOTENCY_KEY_EXPIRED" });
    });

    it("from a clock that runs ahead replays until it is refused for its age, with no moment between", async () => {
      const options = { ...call, key: keyOf(-hour) };
      const { expiresAt } = await once(store, options, add("a"));
      expect(expiresAt).toEqual(new Date(noon + 25 * hour));
      opened.clock.now = noon + 25 * hour - 1;
      expect(await once(store, options, add("b"))).toMatchObject({ replayed: true });
      opened.clock.now = noon + 25 * hour;
      await expect(once(store, options, add("b"))).rejects.toMatchObject({ code: "IDEMPOTENCY_KEY_EXPIRED" });
    });

    it("from a clock that is ahead by more than the retention is kept no longer than other keys", async () => {
      const { expiresAt } = await once(store, { ...call, key: keyOf(-25 * hour) }, add("a"));
      expect(expiresAt).toEqual(new Date(noon + 24 * hour));
    });

    it("that was used at the moment it was made is not run again at the moment its record ends", async () => {
      const options = { ...call, key: keyOf(0) };
      await once(store, options, add("a"));
      opened.clock.now = noon + 24 * hour;
      await expect(once(store, options, add("b"))).rejects.toMatchObject({ code: "IDEMPOTENCY_KEY_EXPIRED" });
    });

    it("is measured by the retention of the call, and not told by other keys", async () => {
      await expect(
        once(store, { ...call, key: keyOf(hour), retention: "1h" }, add("a")),
      ).rejects.toMatchObject({
        code: "IDEMPOTENCY_KEY_EXPIRED",
      });
      expect(await once(store, { ...call, key: keyOf(hour), retention: "2h" }, add("b"))).toMatchObject({
        replayed: false,
      });
      expect(await once(store, { ...call, key: v4(), retention: "1s" }, add("c"))).toMatchObject({
        replayed: false,
      });
    });
  });

  describe("a record that was tampered with", () => {
    it("is neither replayed nor run again, and the error names the key", async () => {
      await once(store, call, add("a"));
      await opened.spoil();
      await expect(once(store, call, add("b"))).rejects.toMatchObject({
        code: "IDEMPOTENCY_RECORD_UNREADABLE",
        extensions: { idempotency: { key: "key", retryable: false, safeToUseNewKey: false } },
      });
      expect(await opened.texts()).toEqual(["a"]);
    });
  });
}
