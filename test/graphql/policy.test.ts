import { makeExecutableSchema } from "@graphql-tools/schema";
import {
  buildSchema,
  extendSchema,
  GraphQLError,
  GraphQLID,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  graphql,
  parse,
} from "graphql";
import {
  collectOutcomes,
  type IdempotentOptions,
  idempotent,
  type Outcome,
  SHARED,
} from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { type DirectiveArguments, directiveOn } from "../../src/graphql/annotation.ts";
import { policyFor } from "../../src/graphql/policy.ts";
import { type Entries, openEntries, type Tx } from "../stores/sqlite/entries-database.ts";

const everything = { header: true, clientDirective: true, leases: true };

function policyOf(
  directive: string,
  field = "create(idempotencyKey: ID!, input: Input): String",
  ofType?: DirectiveArguments,
) {
  const { typeDefs } = idempotent({ store: { transaction() {} } as never, scope: SHARED }); // `as`: never called
  const schema = buildSchema(`${typeDefs} type Query { a: Int } type Mutation { ${field} ${directive} }
    input Input { key: ID! at: String lines: [Line!] } input Line { note: String } scalar UUID`);
  const annotated = schema.getMutationType()?.getFields().create;
  if (!annotated) throw new Error("no field");
  const written = { ofType: ofType ?? {}, ofField: directiveOn(annotated, "idempotent") ?? {} };
  return policyFor(annotated, written, "@idempotent on Mutation.create", everything, () => {});
}

describe("the policy of a field", () => {
  it("has the documented defaults", () => {
    expect(policyOf("@idempotent")).toEqual({
      argument: ["idempotencyKey"],
      resourceId: ["id"],
      retentionMs: 86_400_000,
      ignore: new Map([["idempotencyKey", true]]),
      effects: "DATABASE",
      concurrent: "WAIT",
      errors: "RETRY",
      required: true,
    });
  });

  it("is what the directive says", () => {
    const written = `@idempotent(argument: "input.key", resourceId: "order.id", retention: "15m",
      ignore: ["input.at", "input.lines.note"], effects: EXTERNAL, concurrent: REJECT, errors: REPLAY)`;
    expect(policyOf(written)).toEqual({
      argument: ["input", "key"],
      resourceId: ["order", "id"],
      retentionMs: 900_000,
      ignore: new Map([
        [
          "input",
          new Map<string, unknown>([
            ["key", true],
            ["at", true],
            ["lines", new Map([["note", true]])],
          ]),
        ],
      ]),
      effects: "EXTERNAL",
      concurrent: "REJECT",
      errors: "REPLAY",
      required: true,
    });
  });

  it("takes a single path for a list of one, as GraphQL does", () => {
    expect(policyOf('@idempotent(ignore: "input.at")').ignore.get("input")).toEqual(new Map([["at", true]]));
  });

  it("has no key argument where the default one isn't and another source is enabled", () => {
    expect(policyOf("@idempotent", "create(input: Input): String").argument).toBeUndefined();
  });

  it("may lack the key argument that the mutation type names, but not one that it names itself", () => {
    const field = "create(input: Input): String";
    expect(policyOf("", field, { argument: "key" }).argument).toBeUndefined();
    expect(() => policyOf('@idempotent(argument: "key")', field)).toThrow('no argument "key"');
  });

  it("takes a key of a scalar of the API's own", () => {
    expect(policyOf('@idempotent(argument: "key")', "create(key: UUID!): String").argument).toEqual(["key"]);
  });
});

/** A schema whose every mutation writes an entry under its own name and then fails on demand. */
async function start(
  typeDefs: (directive: string) => string | GraphQLSchema,
  options: Partial<IdempotentOptions<object, Tx>> = {},
) {
  const opened = await openEntries();
  const idempotency = idempotent({ store: opened.store, scope: SHARED, warn: () => {}, ...options });
  const defined = typeDefs(idempotency.typeDefs);
  let ran = 0;
  const resolve = () => {
    ran += 1;
    throw new GraphQLError(`Refused ${ran}`);
  };
  const schema = typeof defined === "string" ? makeExecutableSchema({ typeDefs: defined }) : defined;
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) field.resolve = resolve;
  const transformed = idempotency.transform(schema);

  async function send(
    selection: string,
  ): Promise<{ readonly messages: string[]; readonly outcomes: readonly Outcome[] }> {
    const contextValue = {};
    const outcomes = collectOutcomes(contextValue);
    const { errors = [] } = await graphql({
      schema: transformed,
      source: `mutation { ${selection} }`,
      contextValue,
    });
    return { messages: errors.map(({ message }) => message), outcomes };
  }

  return { schema: transformed, send, [Symbol.asyncDispose]: (opened as Entries)[Symbol.asyncDispose] };
}

/** REPLAY shows: an error under one key is the same one twice. RETRY shows too: the resolver runs again. */
async function policySeen({ send }: Awaited<ReturnType<typeof start>>, selection: string): Promise<string> {
  const [first] = (await send(selection)).messages;
  const [second] = (await send(selection)).messages;
  if (!first?.startsWith("Refused")) return first ?? "no error";
  return first === second ? "REPLAY" : "RETRY";
}

describe("where the directive is read", () => {
  it("stands in SDL on the type for all of its fields, each of its arguments overridden by a field's own", async () => {
    await using server = await start(
      (directive) => `${directive}
        type Query { a: Int }
        type Mutation @idempotent(argument: "key", errors: REPLAY) {
          inherits(key: ID!, other: ID): Int
          overrides(key: ID!, other: ID): Int @idempotent(errors: RETRY)
          overridesAnother(key: ID, other: ID!): Int @idempotent(argument: "other")
        }`,
    );
    expect(await policySeen(server, 'inherits(key: "a")')).toBe("REPLAY");
    expect(await policySeen(server, 'overrides(key: "a")')).toBe("RETRY");
    expect(await policySeen(server, 'overridesAnother(other: "a")')).toBe("REPLAY");
    expect(await policySeen(server, 'overridesAnother(key: "a", other: "")')).toContain(
      "The idempotency key",
    );
  });

  it("stands in SDL on an extension of the type, and on fields that an extension adds", async () => {
    await using server = await start(
      (directive) => `${directive}
        type Query { a: Int }
        type Mutation { first(idempotencyKey: ID!): Int }
        extend type Mutation @idempotent(errors: REPLAY)
        extend type Mutation { second(idempotencyKey: ID!): Int @idempotent(errors: RETRY) }`,
    );
    expect(await policySeen(server, 'first(idempotencyKey: "a")')).toBe("REPLAY");
    expect(await policySeen(server, 'second(idempotencyKey: "a")')).toBe("RETRY");
  });

  it("stands in an extension of a built schema", async () => {
    await using server = await start((directive) =>
      extendSchema(
        buildSchema(`${directive} type Query { a: Int } type Mutation { first(idempotencyKey: ID!): Int }`),
        parse("extend type Mutation @idempotent(errors: REPLAY)"),
      ),
    );
    expect(await policySeen(server, 'first(idempotencyKey: "a")')).toBe("REPLAY");
  });

  it.each<[string, object]>([
    ["a record of its arguments", { idempotent: { errors: "REPLAY" } }],
    ["a list of records, as for a repeatable directive", { idempotent: [{ errors: "REPLAY" }] }],
    [
      "a list of directives, as Pothos writes it",
      [{ name: "other" }, { name: "idempotent", args: { errors: "REPLAY" } }],
    ],
  ])("stands in code as extensions.directives: %s", async (_form, directives) => {
    await using server = await start(() => codeFirst({ extensions: { directives } }));
    expect(await policySeen(server, 'create(idempotencyKey: "a")')).toBe("REPLAY");
  });

  it.each<[string, object]>([
    ["a record without arguments", { idempotent: {} }],
    ["true", { idempotent: true }],
    ["an empty list of arguments", { idempotent: [{}] }],
    ["a name alone in a list", [{ name: "idempotent" }]],
  ])("stands in code with all its defaults: %s", async (_form, directives) => {
    await using server = await start(() => codeFirst({ extensions: { directives } }));
    expect(await policySeen(server, "create")).toContain("This mutation requires an idempotency key");
    expect(await policySeen(server, 'create(idempotencyKey: "a")')).toBe("RETRY");
  });

  it("stands in code on the type, and is overridden by a field", async () => {
    await using server = await start(() =>
      codeFirst({
        extensions: { directives: { idempotent: { errors: "RETRY", resourceId: "order.id" } } },
        typeExtensions: { directives: { idempotent: { errors: "REPLAY" } } },
      }),
    );
    expect(await policySeen(server, 'create(idempotencyKey: "a")')).toBe("RETRY");
  });

  it("comes to be known to clients of a schema made in code", async () => {
    await using server = await start(() => codeFirst({ extensions: { directives: { idempotent: {} } } }), {
      clientDirective: true,
    });
    expect(server.schema.getDirective("idempotent")?.locations).toContain("FIELD");
    expect((await server.send('create @idempotent(key: "a")')).messages).toEqual(["Refused 1"]);
  });

  it("may have another name, which its own no longer means", async () => {
    await using server = await start(
      (directive) => `${directive}
        directive @idempotent on FIELD_DEFINITION
        type Query { a: Int }
        type Mutation {
          create(idempotencyKey: ID!): Int @once(errors: REPLAY)
          other(idempotencyKey: ID!): Int @idempotent
        }`,
      { name: "once" },
    );
    expect(await policySeen(server, 'create(idempotencyKey: "a")')).toBe("REPLAY");
    expect(await policySeen(server, 'other(idempotencyKey: "")')).toBe("RETRY");
  });

  it("is on the root mutation type, whatever that is called", async () => {
    await using server = await start(
      (directive) => `${directive}
        schema { query: Query mutation: Changes }
        type Query { a: Int }
        type Changes { create(idempotencyKey: ID!): Int @idempotent(errors: REPLAY) }`,
    );
    expect(await policySeen(server, 'create(idempotencyKey: "a")')).toBe("REPLAY");
  });
});

function codeFirst(options: {
  readonly extensions: Record<string, unknown>;
  readonly typeExtensions?: Record<string, unknown>;
}): GraphQLSchema {
  return new GraphQLSchema({
    query: new GraphQLObjectType({ name: "Query", fields: { a: { type: GraphQLString } } }),
    mutation: new GraphQLObjectType({
      name: "Mutation",
      extensions: options.typeExtensions ?? {},
      fields: {
        create: {
          type: GraphQLString,
          args: {
            idempotencyKey: { type: GraphQLID },
            other: { type: new GraphQLNonNull(GraphQLID), defaultValue: "a" },
          },
          extensions: options.extensions,
        },
      },
    }),
  });
}
