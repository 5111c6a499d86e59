import { Readable } from "node:stream";
import { GraphQLScalarType } from "graphql";
import { IdempotencyError, type IdempotencyErrorCode } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { httpOf } from "../src/protocol.ts";
import { orderCreator, readPage, testExamples } from "./executed-page.ts";
import { orders } from "./orders-schema.ts";

const upload = () => Readable.from(["hello"]);

describe("PROTOCOL.md", () => {
  const page = readPage("PROTOCOL.md");

  testExamples(page, (database, workshop) => {
    const creates = orderCreator(workshop);
    return {
      Upload: new GraphQLScalarType({ name: "Upload", parseValue: upload, parseLiteral: upload }),
      Query: { orders: () => database.db.select().from(orders) },
      Mutation: {
        createOrder: creates(),
        exportOrders: creates(),
        waitForEver: () => new Promise(() => {}),
        uploadPhoto: creates(),
        createReport: creates(() => ({ total: () => 1 })),
      },
    };
  });

  // A code that is missing here, or is none, doesn't compile.
  const codes = Object.keys({
    IDEMPOTENCY_KEY_MISSING: true,
    IDEMPOTENCY_KEY_INVALID: true,
    IDEMPOTENCY_KEY_PARAMETER_MISMATCH: true,
    IDEMPOTENCY_KEY_EXPIRED: true,
    IDEMPOTENCY_CONCURRENT_REQUEST: true,
    IDEMPOTENCY_STORE_UNAVAILABLE: true,
    IDEMPOTENCY_DEADLINE_EXCEEDED: true,
    IDEMPOTENCY_ARGUMENT_UNSUPPORTED: true,
    IDEMPOTENCY_RESULT_UNSTORABLE: true,
    IDEMPOTENCY_RECORD_UNREADABLE: true,
  } satisfies Record<IdempotencyErrorCode, true>) as IdempotencyErrorCode[]; // `as`: keys() says only string

  it.each(codes)(
    "tells status and advice of %s as they are, explains it, and has an example of it",
    (code) => {
      const { retryable, safeToUseNewKey } = Object(new IdempotencyError(code, "").extensions.idempotency);
      const link = `[${code}](#${code.toLowerCase()})`;
      expect(page.text).toContain(
        `| ${link} | ${httpOf(code)?.status} | ${retryable} | ${safeToUseNewKey} |`,
      );
      expect(page.text).toContain(`### ${code}\n`);
      expect(page.examples.some(({ answer }) => answer.includes(`"${code}"`))).toBe(true);
    },
  );
});
