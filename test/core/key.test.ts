import fc from "fast-check";
import { IdempotencyError } from "graphql-idempotent";
import { v1, v4, v7 } from "uuid";
import { describe, expect, it } from "vitest";
import { type KeySources, readKey, timeOfKey, validKey } from "../../src/core/key.ts";

const uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";

function refusalOf(read: () => unknown): IdempotencyError {
  try {
    read();
  } catch (error) {
    if (error instanceof IdempotencyError) return error;
    throw error;
  }
  throw new Error("The key was accepted.");
}

describe("where the key comes from", () => {
  it("has no key when no source has one", () => {
    expect(
      readKey({ directive: undefined, argument: null, header: undefined }, "createOrder"),
    ).toBeUndefined();
  });

  it.each<[string, KeySources]>([
    ["the client's directive", { directive: uuid }],
    ["the argument", { argument: uuid }],
    ["the directive and the same argument", { directive: uuid, argument: uuid }],
    ["the directive and the same header", { directive: uuid, header: `"${uuid}"` }],
    ["the argument and the same header", { argument: uuid, header: uuid }],
    ["all three, the same", { directive: uuid, argument: uuid, header: uuid }],
  ])("is the key of the field itself when it stands in %s", (_place, sources) => {
    expect(readKey(sources, "createOrder")).toEqual({ sent: uuid, stored: uuid });
  });

  it("gives each root field a key of its own out of one header, which no key of a client can equal", () => {
    const one = readKey({ header: uuid }, "first");
    const other = readKey({ header: uuid }, "second");
    expect(one?.sent).toBe(uuid);
    expect(other?.sent).toBe(uuid);
    expect(one?.stored).not.toBe(other?.stored);
    expect(refusalOf(() => validKey(one?.stored, "`key`")).message).toContain("has a control character");
  });

  it.each<[string, KeySources, string]>([
    [
      "the directive and the argument",
      { directive: "a", argument: "b" },
      "A call has one idempotency key, but @idempotent(key:) and the key argument are different. Send the key once, or the same one in both places.",
    ],
    [
      "the header and the argument",
      { argument: "b", header: "a" },
      "A call has one idempotency key, but the Idempotency-Key header and the field's own key are different. Send the key once, or the same one in both places.",
    ],
    [
      "the header and the directive",
      { directive: "b", header: '"a"' },
      "A call has one idempotency key, but the Idempotency-Key header and the field's own key are different. Send the key once, or the same one in both places.",
    ],
  ])("refuses different keys in %s", (_places, sources, message) => {
    const refusal = refusalOf(() => readKey(sources, "createOrder"));
    expect(refusal.code).toBe("IDEMPOTENCY_KEY_INVALID");
    expect(refusal.message).toBe(message);
  });

  it("refuses an invalid key also where a valid one stands in another source", () => {
    expect(refusalOf(() => readKey({ argument: uuid, header: "" }, "createOrder")).message).toContain(
      "is empty",
    );
    expect(refusalOf(() => readKey({ directive: "", argument: uuid }, "createOrder")).message).toContain(
      "is empty",
    );
    expect(refusalOf(() => readKey({ directive: uuid, argument: "" }, "createOrder")).code).toBe(
      "IDEMPOTENCY_KEY_INVALID",
    );
  });
});

describe("the Idempotency-Key header", () => {
  it.each([
    ["a quoted string, as the IETF draft has it", `"${uuid}"`, uuid],
    ["a bare one, as Stripe's clients send it", uuid, uuid],
    ["a quoted string with escapes", String.raw`"a \"b\" \\c"`, String.raw`a "b" \c`],
    ["a quoted string with parameters, which say nothing", `"${uuid}";a=1`, uuid],
    ["a comma in quotes", '"a,b"', "a,b"],
    ["a list of one value, as Node's headersDistinct gives it", [uuid], uuid],
  ])("may be %s", (_form, header, key) => {
    expect(readKey({ header }, "createOrder")?.sent).toBe(key);
  });

  const mend = `Send it once, such as Idempotency-Key: "${uuid}".`;
  it.each<[string, unknown, string]>([
    ["was sent twice and joined", "a, b", "has a comma, as if it had been sent twice"],
    ["was sent twice in quotes", '"a", "b"', "is not one well-formed quoted string"],
    ["was sent twice and kept apart", ["a", "b"], "was sent more than once"],
    ["has an open quote", '"abc', "is not one well-formed quoted string"],
    ["goes on after the quote", '"abc"d', "is not one well-formed quoted string"],
    ["has a character that no structured string has", '"ä"', "is not one well-formed quoted string"],
    ["is no string", 7, "is of type number"],
  ])("is refused when it %s", (_what, header, fault) => {
    const refusal = refusalOf(() => readKey({ header }, "createOrder"));
    expect(refusal.code).toBe("IDEMPOTENCY_KEY_INVALID");
    expect(refusal.message).toBe(
      `The Idempotency-Key header must be one key, in double quotes or bare, but it ${fault}. ${mend}`,
    );
  });
});

describe("a valid key", () => {
  it.each(["a", "0", "x".repeat(255), "😀".repeat(255), "a b", "ключ", "\u200b", uuid])(
    "%j is one",
    (key) => {
      expect(validKey(key, "`key`")).toBe(key);
    },
  );

  it.each<[unknown, string]>([
    ["", "is empty"],
    ["x".repeat(256), "has 256 characters"],
    ["😀".repeat(256), "has 256 characters"],
    ["a\nb", "has a control character"],
    ["a\0", "has a control character"],
    ["\u007f", "has a control character"],
    ["\u0085", "has a control character"],
    [" a", "has white space at an end"],
    ["a ", "has white space at an end"],
    ["\u00a0a", "has white space at an end"],
    ["a\u3000", "has white space at an end"],
    ["\ufeffa", "has white space at an end"],
    ["a\ud83d", "has half of a surrogate pair"],
    [12, "is of type number"],
    [true, "is of type boolean"],
    [{}, "is of type object"],
  ])("%j is none", (key, fault) => {
    const refusal = refusalOf(() => validKey(key, "the key argument"));
    expect(refusal.code).toBe("IDEMPOTENCY_KEY_INVALID");
    expect(refusal.message).toBe(
      `The idempotency key in the key argument must be a string of 1 to 255 characters without control characters and without white space at either end, but it ${fault}. Send a UUID, the same one with every retry of this call.`,
    );
  });

  it("names a refused key to the client, unless it is too long to repeat", () => {
    expect(refusalOf(() => validKey(" a", "`key`")).extensions.idempotency).toMatchObject({ key: " a" });
    expect(refusalOf(() => validKey("x".repeat(256), "`key`")).extensions.idempotency).toMatchObject({
      key: null,
    });
  });

  it("is never changed, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 20 }), (key) => {
        try {
          expect(readKey({ argument: key }, "createOrder")).toEqual({ sent: key, stored: key });
        } catch (error) {
          expect(error).toMatchObject({ code: "IDEMPOTENCY_KEY_INVALID" });
        }
      }),
    );
  });

  it("survives the quotes of a header", () => {
    const printable = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 255 });
    fc.assert(
      fc.property(
        printable.filter((key) => key.trim() === key),
        (key) => {
          const header = `"${key.replace(/["\\]/g, "\\$&")}"`;
          expect(readKey({ header }, "createOrder")?.sent).toBe(key);
        },
      ),
    );
  });
});

describe("the age of a key", () => {
  it("is told by a UUIDv7, to the millisecond and in any case of letters", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 48 - 1 }), (msecs) => {
        const key = v7({ msecs });
        expect(timeOfKey(key)).toBe(msecs);
        expect(timeOfKey(key.toUpperCase())).toBe(msecs);
      }),
    );
  });

  it.each([v4(), v1(), "order-7", `{${v7()}}`, v7().replaceAll("-", ""), `${v7()} `])(
    "is not told by %j",
    (key) => {
      expect(timeOfKey(key)).toBeUndefined();
    },
  );
});
