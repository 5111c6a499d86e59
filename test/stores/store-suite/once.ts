import { GraphQLError } from "graphql";
import { IdempotencyError, type OnceOptions, once, SHARED, type Store } from "graphql-idempotent";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Entries, held, noon, type OpenEntries } from "./entries.ts";

const hour = 3_600_000;
const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };

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
        throw new GraphQLError("a", { extensions: { left: () => 1 } });
      };
      await expect(once(store, replaying, run)).rejects.toMatchObject({
        code: "IDEMPOTENCY_RESULT_UNSTORABLE",
      });
      expect(await once(store, replaying, add("b"))).toMatchObject({ replayed: false });
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
