import { deepStrictEqual } from "node:assert";
import fc from "fast-check";
import { GraphQLError } from "graphql";
import type { PayloadOptions } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { createPayloadCodec, type PayloadCodec } from "../../src/core/payload.ts";

class Money {
  readonly amount: bigint;
  readonly currency: string;

  constructor(amount: bigint, currency: string) {
    this.amount = amount;
    this.currency = currency;
  }
}

const money = {
  class: Money,
  encode: ({ amount, currency }: Money) => [amount, currency],
  decode: (data: unknown) => new Money(...(data as [bigint, string])), // `as`: what encode() returned
};

function roundTrip(result: unknown, codec: PayloadCodec = createPayloadCodec()): unknown {
  return codec.decode(codec.encode(result));
}

const leaf = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constantFrom(
    null,
    undefined,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    -0,
    "</script>",
  ),
  fc.bigInt(),
  fc.date(),
  fc.uint8Array({ maxLength: 5 }),
  fc.uint8Array({ maxLength: 5 }).map((bytes) => Buffer.from(bytes)),
  fc.tuple(fc.bigInt(), fc.string()).map((parts) => new Money(...parts)),
);
// In a result that is not plain JSON, devalue refuses the key __proto__; see below.
const key = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("constructor", "toJSON", "then", "length", "1"),
);
const { storable } = fc.letrec<{ storable: unknown }>((tie) => ({
  storable: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie("storable"), { maxLength: 4 }),
    fc.sparseArray(tie("storable"), { maxNumElements: 3, maxLength: 6 }),
    fc.dictionary(
      key.filter((name) => name !== "__proto__"),
      tie("storable"),
      { maxKeys: 4, noNullPrototype: true },
    ),
    fc.array(fc.tuple(tie("storable"), tie("storable")), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie("storable"), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}));

/** Every object within a value, and the value itself. */
function* objectsIn(value: unknown): Generator<object> {
  if (typeof value !== "object" || value === null) return;
  yield value;
  if (value instanceof Map || value instanceof Set) {
    for (const entry of [...value].flat()) yield* objectsIn(entry);
  }
  for (const member of Object.values(value)) yield* objectsIn(member);
}

describe("a stored result", () => {
  it("comes back equal, whatever it is made of", () => {
    const codec = createPayloadCodec({ types: { Money: money } });
    fc.assert(
      fc.property(storable, (result) => {
        deepStrictEqual(roundTrip(result, codec), result);
      }),
    );
  });

  it("comes back shared with nobody", () => {
    const codec = createPayloadCodec({ types: { Money: money } });
    fc.assert(
      fc.property(storable, (result) => {
        const payload = codec.encode(result);
        const original = new Set(objectsIn(result));
        const first = new Set(objectsIn(codec.decode(payload)));
        for (const object of objectsIn(codec.decode(payload))) {
          expect(first.has(object) || original.has(object)).toBe(false);
        }
        for (const object of first) expect(original.has(object)).toBe(false);
      }),
    );
  });

  it("is plain JSON in the database when it is plain JSON, for people to read", () => {
    const codec = createPayloadCodec({ types: { Money: money } });
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), (json) => {
        const result = JSON.parse(json);
        const payload = codec.encode(result);
        expect(payload).toEqual({ format: "json", payload: JSON.stringify(result) });
        deepStrictEqual(codec.decode(payload), result);
      }),
    );
  });

  it("is what it was when it is not JSON's to keep", () => {
    expect(createPayloadCodec().encode({ createdAt: new Date(0) })).toEqual({
      format: "devalue",
      payload: '[{"createdAt":1},["Date","1970-01-01T00:00:00.000Z"]]',
    });
    expect(Object.is(roundTrip(-0), -0)).toBe(true);
    expect(roundTrip([-0])).toEqual([-0]);
    expect("a" in (roundTrip({ a: undefined }) as object)).toBe(true); // `as`: an object went in
    expect(roundTrip(undefined)).toBeUndefined();
    expect(roundTrip(null)).toBeNull();
    expect(roundTrip(Object.assign(Object.create(null), { id: 1 }))).toEqual({ id: 1 });
  });

  it("keeps an array's items, whatever the array's class makes of itself as JSON", () => {
    class Rows extends Array<unknown> {
      toJSON(): string {
        return "rows";
      }
    }
    expect(roundTrip({ rows: Rows.of(1, 2) })).toEqual({ rows: [1, 2] });
  });

  it("keeps what is shared within it shared, and a cycle through a Map a cycle", () => {
    const product = { id: 1, at: new Date(0) };
    const [one, other] = roundTrip([product, product]) as [unknown, unknown]; // `as`: a pair went in
    expect(one).toBe(other);
    const map = new Map<string, unknown>();
    map.set("self", map);
    const back = roundTrip(map) as typeof map; // `as`: a Map went in
    expect(back.get("self")).toBe(back);
  });
});

const circle: Record<string, unknown> = { id: 1 };
circle.parent = { child: circle };

const unstorables: readonly [string, unknown, string][] = [
  ["function", () => 1, "is a function"],
  ["method", class Order {}, "is a function"],
  ["symbol", Symbol("a"), "is a symbol"],
  ["promise", Promise.resolve(1), "is a promise"],
  ["instance", new Money(1n, "EUR"), "is an instance of Money"],
  ["error", new RangeError("no"), "is an instance of RangeError"],
  ["weak map", new WeakMap(), "is an instance of WeakMap"],
  ["symbol key", { [Symbol("a")]: 1 }, "is an object with symbols for keys"],
];

describe("a result that can't be stored", () => {
  const name = fc.constantFrom("id", "lines", "_a", "$b");
  const step = fc.oneof(
    fc.record({ in: fc.constant("list" as const), index: fc.nat({ max: 2 }) }),
    fc.record({ in: fc.constant("object" as const), name }),
    fc.record({ in: fc.constant("map" as const), name }),
  );

  it.each(unstorables)("is refused with the place of the %s, however deep", (_kind, value, fault) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 5 }), (path) => {
        let result = value;
        let place = "";
        for (const each of path.toReversed()) {
          if (each.in === "list") {
            result = [...Array(each.index).fill(1n), result];
            place = `[${each.index}]${place}`;
          } else {
            result = each.in === "map" ? new Map([[each.name, result]]) : { before: 1, [each.name]: result };
            place = each.in === "map" ? `.get("${each.name}")${place}` : `.${each.name}${place}`;
          }
        }
        const encode = () => createPayloadCodec().encode(result);
        expect(encode).toThrow(
          `result${place} ${fault}, which can't be stored for replays. Return plain data from the resolver, or register the class in \`types\`.`,
        );
        expect(encode).toThrow(expect.objectContaining({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" }));
      }),
    );
  });

  it("is refused with the place where a cycle closes", () => {
    expect(() => createPayloadCodec().encode([{ order: circle }])).toThrow(
      "result[0].order.parent.child is a reference to an object that contains it",
    );
  });

  it("names the key __proto__ where it can't be kept", () => {
    const result = { at: new Date(0), more: JSON.parse('{"__proto__": 1}') };
    expect(() => createPayloadCodec().encode(result)).toThrow(
      'result.more is an object with the key "__proto__"',
    );
  });

  it("is refused above the limit, in bytes, and stored up to it", () => {
    const codec = createPayloadCodec({ maxBytes: 10 });
    expect(codec.encode("12345678").payload).toHaveLength(10);
    expect(codec.encode("éééé").payload).toHaveLength(6);
    expect(() => codec.encode("ééééé")).toThrow(
      "The result takes 12 bytes, and at most 10 can be stored for replays. Return less from the resolver (fields with resolvers of their own are not stored), or raise maxBytes.",
    );
    expect(() => codec.encode([1n, 2n])).toThrow(
      expect.objectContaining({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" }),
    );
    expect(() => codec.encodeError(new GraphQLError("Sold out"))).toThrow("at most 10 can be stored");
    const megabyte = "x".repeat(1_048_574);
    expect(roundTrip(megabyte)).toBe(megabyte);
    expect(() => createPayloadCodec().encode(`${megabyte}x`)).toThrow("The result takes 1048577 bytes");
  });
});

describe("registered classes", () => {
  it.each([0, -0, "", false, null, undefined, Number.NaN, 0n, [], {}])(
    "come back when they encode to %s",
    (data) => {
      class Box {
        readonly content: unknown;

        constructor(content: unknown) {
          this.content = content;
        }
      }
      const types = {
        Box: {
          class: Box,
          encode: (box: Box) => box.content,
          decode: (content: unknown) => new Box(content),
        },
      };
      const result = { box: new Box(data), boxes: new Set([new Box(data)]) };
      expect(roundTrip(result, createPayloadCodec({ types }))).toStrictEqual(result);
    },
  );

  it("may contain one another, and be found by a common ancestor", () => {
    abstract class Shape {
      abstract readonly kind: string;
    }
    class Circle extends Shape {
      readonly kind = "circle";
      readonly price = new Money(1n, "EUR");
    }
    const types = {
      Money: money,
      Shape: { class: Shape, encode: (shape: Shape) => ({ ...shape }), decode: () => new Circle() },
    };
    const codec = createPayloadCodec({ types });
    expect(roundTrip([new Circle()], codec)).toStrictEqual([new Circle()]);
  });

  it("never meet devalue's own forms, whatever their names", () => {
    for (const name of [
      "Date",
      "Map",
      "Object",
      "BigInt",
      "Uint8Array",
      "null",
      "Buffer",
      "__proto__",
      "a b",
    ]) {
      const codec = createPayloadCodec({ types: { [name]: money } });
      const result = [
        new Money(1n, "EUR"),
        new Date(0),
        new Map([[1n, Buffer.from("a")]]),
        new Uint8Array(1),
      ];
      expect(roundTrip(result, codec)).toStrictEqual(result);
    }
  });

  it("are not found any more once they are registered no more: the record is unreadable, not another result", () => {
    const payload = createPayloadCodec({ types: { Money: money } }).encode(new Money(1n, "EUR"));
    expect(() => createPayloadCodec().decode(payload)).toThrow(
      expect.objectContaining({ code: "IDEMPOTENCY_RECORD_UNREADABLE" }),
    );
  });

  it.each<[string, unknown, string]>([
    ["no object", { Money: 1 }, "types.Money must be { class, encode, decode }, but it is 1."],
    ["no class", { Money: { ...money, class: "Money" } }, "types.Money must be { class, encode, decode }"],
    [
      "no encode",
      { Money: { class: Money, decode: money.decode } },
      "types.Money must be { class, encode, decode }",
    ],
    [
      "no decode",
      { Money: { class: Money, encode: money.encode } },
      "types.Money must be { class, encode, decode }",
    ],
    [
      "a quote in the name",
      { 'a"b': money },
      'types: a name has no quotes, backslashes or control characters, but one is "a\\"b".',
    ],
  ])("are refused at once when there is %s", (_what, types, message) => {
    // `as`: JavaScript's users can pass anything
    const make = () => createPayloadCodec({ types } as PayloadOptions);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });
});

describe("an error that is the result", () => {
  function replayOf(error: GraphQLError): GraphQLError {
    const codec = createPayloadCodec();
    try {
      codec.decode(codec.encodeError(error));
    } catch (replayed) {
      if (replayed instanceof GraphQLError) return replayed;
      throw replayed;
    }
    throw new Error("Nothing was thrown.");
  }

  it("comes back as the client saw it", () => {
    const extensions = { code: "SOLD_OUT", left: 0, of: ["pen", { id: 1 }], at: new Date(0) };
    const error = new GraphQLError("Sold out 😀", { extensions });
    expect(JSON.stringify(replayOf(error))).toBe(JSON.stringify(error));
  });

  it("may have a key __proto__ without harm", () => {
    const extensions = JSON.parse('{"code": "A", "__proto__": {"polluted": true}}');
    const replayed = replayOf(new GraphQLError("a", { extensions }));
    expect(replayed.extensions.code).toBe("A");
    expect(({} as Record<string, unknown>).polluted).toBeUndefined(); // `as`: asked for what mustn't be there
  });

  it("is refused when its extensions have what can't be stored, as a result would be", () => {
    const encode = () =>
      createPayloadCodec().encodeError(new GraphQLError("a", { extensions: { list: [() => 1] } }));
    expect(encode).toThrow("error.extensions.list[0] is a function, which can't be stored for replays.");
    expect(encode).toThrow(expect.objectContaining({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" }));
    const circular = () => createPayloadCodec().encodeError(new GraphQLError("a", { extensions: circle }));
    expect(circular).toThrow(expect.objectContaining({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" }));
  });
});

describe("a payload that was tampered with", () => {
  const codec = createPayloadCodec({ types: { Money: money } });

  it.each([
    ["json", ""],
    ["json", "{"],
    ["json", "undefined"],
    ["devalue", ""],
    ["devalue", "[]"],
    ["devalue", "{}"],
    ["devalue", "[[1]]"],
    ["devalue", '[["Unknown",1],1]'],
    ["devalue", '[["Map",1,1],["Uint8Array",0]]'],
    ["devalue", '[["Buffer",0]]'],
    ["devalue", '[["types.Money",1],[2],["types.Money",1]]'],
    ["devalue", '[{"__proto__":1},{"polluted":2},true]'],
    ["devalue", '[["null","__proto__",1],{"polluted":2},true]'],
    ["error", "null"],
    ["error", "7"],
    ["error", "{}"],
    ["error", '{"message":7}'],
    ["error", '{"message":"a","extensions":7}'],
    ["devalue-error", "[7]"],
    ["devalue-error", '[{"message":1},7]'],
  ] as const)("is unreadable, not another result: %s %j", (format, payload) => {
    const decode = () => codec.decode({ format, payload });
    expect(decode).toThrow(
      "The stored result of this call can't be read, so it can't be replayed; running the call again could repeat its effect. Look the resource up instead.",
    );
    expect(decode).toThrow(expect.objectContaining({ code: "IDEMPOTENCY_RECORD_UNREADABLE" }));
  });

  it("gives a result or an error of ours, never another fault, and pollutes nothing", () => {
    const tampered = storable.chain((result) => {
      const { format, payload } = codec.encode(result);
      const cut = fc.tuple(
        fc.nat({ max: payload.length }),
        fc.nat({ max: 3 }),
        fc.constantFrom("", "0", "[", '"', "-7,"),
      );
      return cut.map(([at, length, put]) => ({
        format,
        payload: payload.slice(0, at) + put + payload.slice(at + length),
      }));
    });
    fc.assert(
      fc.property(tampered, (record) => {
        try {
          codec.decode(record);
        } catch (error) {
          expect(error).toMatchObject({ code: "IDEMPOTENCY_RECORD_UNREADABLE" });
        }
        expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(12);
      }),
      { numRuns: 300 },
    );
  });

  it.each(["__proto__", "constructor", "prototype"])(
    "pollutes nothing by the key %s in plain JSON",
    (name) => {
      const result = JSON.parse(`{"${name}": {"polluted": true}, "id": 1}`);
      const back = roundTrip(result) as Record<string, unknown>; // `as`: an object went in
      expect(Object.hasOwn(back, name)).toBe(true);
      expect(JSON.stringify(back)).toBe(JSON.stringify(result));
      expect(({} as Record<string, unknown>).polluted).toBeUndefined(); // `as`: asked for what mustn't be there
    },
  );
});
