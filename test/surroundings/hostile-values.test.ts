// biome-ignore-all lint/suspicious/noThenProperty: thenables are what this is about
import { type OnceOptions, once } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { type Entries, entries, openEntries, type Tx } from "../stores/sqlite/entries-database.ts";

// All calls of a database share one loop. What a call returns or throws must not be able to stop it.

function add(text: string) {
  return (tx: Tx) => tx.insert(entries).values({ text }).run().changes;
}

function trap(): never {
  throw new Error("trapped");
}

const inEveryTrap = Object.fromEntries(
  Object.getOwnPropertyNames(Reflect).map((name) => [name, trap]),
) as ProxyHandler<Error>; // `as`: a trap for each of its names

function cyclic(): Error {
  const [first, second] = [new Error("first"), new Error("second")];
  first.cause = second;
  second.cause = first;
  return first;
}

function withGetter(name: string, get: () => unknown): Error {
  return Object.defineProperty(new Error("with a getter"), name, { get });
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const never = () => new Promise<never>(() => {});

/** An object with such a `then`, which is what makes a thenable. */
function thenable(then: unknown): object {
  return { then };
}

const thrown: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  "a symbol": () => Symbol("a"),
  "a function": () => trap,
  "an error that is its own cause": cyclic,
  "an error whose cause throws": () => withGetter("cause", trap),
  "an error whose code throws": () => withGetter("code", trap),
  "an error whose name, message and stack throw": () =>
    ["name", "message", "stack"].reduce(
      (error, name) => Object.defineProperty(error, name, { get: trap }),
      new Error("a"),
    ),
  "an error whose cause never ends": () => {
    class Endless extends Error {
      override get cause(): unknown {
        return new Endless("endless");
      }
    }
    return new Endless("endless");
  },
  "a proxy that throws whatever is done to it": () => new Proxy(new Error("inside"), inEveryTrap),
  "a proxy as the cause": () => new Error("outside", { cause: new Proxy(new Error("inside"), inEveryTrap) }),
  "a revoked proxy": revoked,
  "a thenable": () => thenable(trap),
  "an error that says it is this package's": () =>
    Object.assign(new Error("a"), { name: "IdempotencyError", code: "IDEMPOTENCY_DEADLINE_EXCEEDED" }),
  "an error that says it is SQLite's": () => Object.assign(new Error("a"), { name: "SqliteError", code: 5 }),
};

const returned: Record<string, () => unknown> = {
  "an object whose then throws": () => Object.defineProperty({}, "then", { get: trap }),
  "an object whose then is there the second time it is asked": () => {
    let asked = 0;
    return Object.defineProperty({}, "then", { get: () => (asked++ === 0 ? undefined : never) });
  },
  "an object whose then throws the second time it is asked": () => {
    let asked = 0;
    return Object.defineProperty({}, "then", { get: () => (asked++ === 0 ? undefined : trap()) });
  },
  "a thenable that never settles": () => thenable(() => {}),
  "a thenable that throws": () => thenable(trap),
  "a thenable that settles twice": () =>
    thenable((resolve: (value: unknown) => void, reject: (error: unknown) => void) => {
      resolve(1);
      reject(new Error("twice"));
      throw new Error("thrice");
    }),
  "a thenable that settles with a promise that never does": () =>
    thenable((resolve: (value: unknown) => void) => resolve(never())),
  "a thenable that settles with itself, for ever": () => {
    const own = thenable((resolve: (value: unknown) => void) => setImmediate(() => resolve(own)));
    return own;
  },
  "a promise whose own then never settles": () => Object.assign(Promise.resolve(1), { then: () => {} }),
  "a promise whose own then throws": () => Object.assign(Promise.resolve(1), { then: trap }),
  "a promise that never settles": never,
  "a revoked proxy": revoked,
  "a proxy that throws whatever is done to it": () => new Proxy(new Error("inside"), inEveryTrap),
  "a promise of an object whose then throws": () =>
    new Promise((resolve) => resolve(Object.defineProperty({}, "then", { get: trap }))),
};

const call: OnceOptions = { scope: "a", field: "add", key: "hostile" };

/** All that the others may not notice. */
async function expectOthersToGoOn(opened: Entries, hostile: Promise<unknown>): Promise<void> {
  const neighbours = ["b", "c"].map((text) => opened.database.write(add(text)));
  const settled = hostile.then(
    () => "settled",
    () => "settled",
  );
  await expect(Promise.all(neighbours)).resolves.toEqual([1, 1]);
  await expect(opened.database.write(add("d"))).resolves.toBe(1);
  await expect(once(opened.store, { ...call, key: "next" }, add("e"))).resolves.toMatchObject({ result: 1 });
  expect(await settled).toBe("settled");
}

describe("a call that throws", () => {
  it.each(Object.keys(thrown))("%s fails alone, with nothing written", async (name) => {
    await using opened = await openEntries({ database: { deadlineMs: 100 } });
    const make = thrown[name] as () => unknown; // `as`: it is one of the names
    const works: ((tx: Tx) => unknown)[] = [
      (tx) => {
        add("undone")(tx);
        throw make();
      },
      async (tx) => {
        add("undone")(tx);
        await null;
        throw make();
      },
    ];
    for (const work of works) await expectOthersToGoOn(opened, opened.database.write(work)).finally(clear);
    await expectOthersToGoOn(opened, once(opened.store, call, works[0] as (tx: Tx) => unknown)); // `as`: there are two
    expect(opened.texts()).toEqual(["b", "c", "d", "e"]);

    async function clear(): Promise<void> {
      expect(opened.texts()).toEqual(["b", "c", "d", "e"]);
      await opened.database.write((tx) => void tx.delete(entries).run());
      opened.clock.now += 2 * 86_400_000; // what was recorded has expired
    }
  });
});

describe("a call that returns", () => {
  it.each(Object.keys(returned))("%s stops no other", async (name) => {
    await using opened = await openEntries({ database: { deadlineMs: 100 } });
    const make = returned[name] as () => unknown; // `as`: it is one of the names
    const hostile = opened.database.write(make);
    // What a caller makes of such a value is its own affair: it may well wait for ever.
    await expectOthersToGoOn(opened, Promise.race([hostile, opened.database.write(() => null)]));
    await opened.database.write((tx) => void tx.delete(entries).run());
    opened.clock.now += 2 * 86_400_000;
    await expectOthersToGoOn(opened, once(opened.store, call, make));
    expect(opened.texts()).toEqual(["b", "c", "d", "e"]);
  });
});

describe("code of a user's that throws where no call is", () => {
  it("fails the look-up that asked for the time, and no other call", async () => {
    let isBroken = false;
    await using opened = await openEntries({
      store: {
        now() {
          if (isBroken) throw new Error("no time");
          return Date.now();
        },
      },
    });
    await once(opened.store, call, add("a"));
    isBroken = true;
    await expect(once(opened.store, { ...call, key: "2" }, add("b"))).rejects.toThrow("no time");
    await expect(opened.store.purge()).rejects.toThrow("no time");
    await expect(opened.database.write(add("c"))).resolves.toBe(1);
    isBroken = false;
    await expect(once(opened.store, { ...call, key: "2" }, add("d"))).resolves.toMatchObject({ result: 1 });
    expect(opened.texts()).toEqual(["a", "c", "d"]);
  });

  it("fails the statement whose SQL function or logger it is, and no other call", async () => {
    let isBroken = true;
    await using opened = await openEntries({
      database: {
        configure: (connection) => void connection.function("broken", () => trap()),
        logger: {
          logQuery() {
            if (isBroken) throw cyclic();
          },
        },
      },
    });
    await expect(opened.database.write(add("a"))).rejects.toThrow();
    isBroken = false;
    await expect(opened.database.write((tx) => tx.get("SELECT broken()"))).rejects.toThrow("trapped");
    await expect(opened.database.write(add("b"))).resolves.toBe(1);
    expect(opened.texts()).toEqual(["b"]);
  });
});
