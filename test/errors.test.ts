import { GraphQLError } from "graphql";
import { IdempotencyError } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { httpOf } from "../src/protocol.ts";
import { orders, resolversFor } from "./orders-schema.ts";
import { startServer } from "./start-server.ts";

let lastKey = 0;
const newKey = () => `signal-${++lastKey}`;

function create(key: string, { alias = "", item = "cup", field = "createOrder" } = {}): string {
  return `${alias && `${alias}: `}${field}(item: "${item}", idempotencyKey: "${key}") { id }`;
}

describe("an error of a resolver", () => {
  it.each([
    ["that breaks a constraint of the database", "constraint", "INTERNAL_SERVER_ERROR"],
    ["in its SQL", "sql", "INTERNAL_SERVER_ERROR"],
    ["thrown as a string", "string", "INTERNAL_SERVER_ERROR"],
  ])("%s shows neither message nor SQL nor stack", async (_case, item, code) => {
    await using broken = await startServer({ resolvers: brokenResolvers });
    const key = newKey();
    const { body } = await broken.ask(`mutation { ${create(key, { item })} }`);
    expect(body).toEqual({
      data: { createOrder: null },
      errors: [
        {
          message: "Internal server error",
          path: ["createOrder"],
          locations: [{ line: 1, column: 12 }],
          extensions: { code, idempotency: { key, retryable: true, safeToUseNewKey: true } },
        },
      ],
    });
    expect(await broken.countOrders()).toBe(0);
  });

  it.each(["returned", "placed elsewhere"])(
    "that is %s is an error at the field's own place",
    async (item) => {
      await using broken = await startServer({ resolvers: brokenResolvers });
      const operation = `mutation { ${create(newKey(), { item, field: "soldOutForGood" })} }`;
      const { body: first } = await broken.ask(operation);
      const { body: retry } = await broken.ask(operation);
      expect(first.errors).toMatchObject([
        {
          message: "No.",
          path: ["soldOutForGood"],
          locations: [{ line: 1, column: 12 }],
          extensions: { code: "NO" },
        },
      ]);
      expect(retry.errors).toEqual(first.errors);
      expect(await broken.countOrders()).toBe(0);
    },
  );

  it("leaves the fault itself to the server's own log", async () => {
    const logged: unknown[] = [];
    await using logging = await startServer({
      apollo: {
        plugins: [
          {
            async requestDidStart() {
              return {
                async didEncounterErrors({ errors }) {
                  logged.push(errors[0]?.originalError);
                },
              };
            },
          },
        ],
      },
    });
    await logging.ask(`mutation { ${create(newKey(), { field: "faulty" })} }`);
    expect(logged).toEqual([new Error("SELECT secret FROM vault failed")]);
  });

  const brokenResolvers: typeof resolversFor = (database, workshop) => {
    const resolvers = resolversFor(database, workshop);
    const values = { customer: "alice", item: "cup", quantity: 1 };
    const no = { extensions: { code: "NO" } };
    return {
      ...resolvers,
      Mutation: {
        ...resolvers.Mutation,
        async createOrder(_root, { item }, { tx }) {
          const [order] = await tx.insert(orders).values(values).returning();
          if (item === "constraint") await tx.insert(orders).values({ ...values, id: order?.id });
          if (item === "sql") tx.run("INSERT INTO secret VALUES (1)");
          throw "SELECT secret";
        },
        async soldOutForGood(_root, { item }, { tx }) {
          await tx.insert(orders).values(values);
          if (item === "returned") return new GraphQLError("No.", no) as never; // as JavaScript may do
          throw new GraphQLError("No.", { ...no, path: ["another", "operation"] });
        },
      },
    };
  };
});

describe("httpOf()", () => {
  it("knows every code of this package and no other", () => {
    expect(httpOf(new IdempotencyError("IDEMPOTENCY_KEY_MISSING", "").code)).toMatchObject({ status: 400 });
    for (const code of ["SOLD_OUT", "toString", undefined, 5]) expect(httpOf(code)).toBeUndefined();
  });
});
