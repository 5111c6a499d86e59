import { makeExecutableSchema } from "@graphql-tools/schema";
import {
  GraphQLEnumType,
  type GraphQLFieldConfigMap,
  GraphQLFloat,
  GraphQLInputObjectType,
  type GraphQLInputType,
  GraphQLInt,
  GraphQLInterfaceType,
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLScalarType,
  GraphQLSchema,
  GraphQLString,
  GraphQLUnionType,
  graphql,
  introspectionFromSchema,
  parse,
  printSchema,
  specifiedDirectives,
  subscribe,
} from "graphql";
import { idempotent, SHARED } from "graphql-idempotent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Entries, openEntries } from "../stores/sqlite/entries-database.ts";

let opened: Entries;
beforeAll(async () => {
  opened = await openEntries();
});
afterAll(() => opened[Symbol.asyncDispose]());

const transform = (schema: GraphQLSchema, options = {}) =>
  idempotent({ store: opened.store, scope: SHARED, warn: () => {}, ...options }).transform(schema);

/** Percentages are fractions inside, and a serialized one is rounded, so that it does not come back. */
const Percent = new GraphQLScalarType({
  name: "Percent",
  serialize: (value) => `${Math.round(Number(value) * 100)}%`,
  parseValue: (value) => Number.parseFloat(String(value)) / 100,
  extensions: { unit: "%" },
});

class Instant {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
}

const InstantType = new GraphQLScalarType({
  name: "Instant",
  serialize: () => {
    throw new Error("An instant is never sent.");
  },
  parseValue: (value) => new Instant(Number(value)),
});

const Status = new GraphQLEnumType({
  name: "Status",
  values: { OPEN: { value: { code: 1 } }, SHUT: { value: Symbol("shut"), extensions: { colour: "red" } } },
});

/** A schema with `count` types of each kind, and with defaults that only their internal form holds. */
function largeSchema(count: number): GraphQLSchema {
  const inputs: readonly (readonly [GraphQLInputType, unknown])[] = [
    [Percent, 0.125],
    [InstantType, new Instant(7)],
    [Status, { code: 1 }],
    [GraphQLInt, 0],
    [GraphQLFloat, Number.NaN],
    [new GraphQLList(new GraphQLNonNull(Percent)), [0.125]],
    [GraphQLString, null],
    [GraphQLString, undefined],
  ];
  const nodes: GraphQLInterfaceType[] = [];
  const objects: GraphQLObjectType[] = [];
  const unions: GraphQLUnionType[] = [];
  const filters: GraphQLInputObjectType[] = [];
  for (let n = 0; n < count; n++) {
    const node = new GraphQLInterfaceType({
      name: `Node${n}`,
      fields: { id: { type: GraphQLString } },
      resolveType: () => `Thing${n}`,
      extensions: { n },
    });
    const filter = new GraphQLInputObjectType({
      name: `Filter${n}`,
      isOneOf: false,
      fields: () =>
        Object.fromEntries(
          [...inputs, [filters[(n * 7) % count] as GraphQLInputType, { member3: n }] as const].map(
            ([type, defaultValue], i) => [
              `member${i}`,
              { type, defaultValue, deprecationReason: i === 1 ? "old" : undefined, extensions: { i } },
            ],
          ),
        ),
    });
    const thing = new GraphQLObjectType({
      name: `Thing${n}`,
      interfaces: [node],
      isTypeOf: () => true,
      extensions: { n },
      fields: (): GraphQLFieldConfigMap<unknown, unknown> => ({
        id: { type: GraphQLString, resolve: () => String(n) },
        status: { type: Status, args: argumentsOf(inputs), resolve: () => ({ code: 1 }) },
        next: { type: new GraphQLNonNull(objects[(n + 1) % count] as GraphQLObjectType) },
        filtered: {
          type: new GraphQLList(unions[n] as GraphQLUnionType),
          args: { filter: { type: filter } },
        },
      }),
    });
    nodes.push(node);
    filters.push(filter);
    objects.push(thing);
    unions.push(
      new GraphQLUnionType({
        name: `Either${n}`,
        types: () => objects.slice(0, 2),
        resolveType: () => "Thing0",
      }),
    );
  }
  const fieldsOf = (prefix: string) =>
    Object.fromEntries(
      objects.map((type, n) => [
        `${prefix}${n}`,
        {
          type,
          args: { ...argumentsOf(inputs), filter: { type: filters[n] as GraphQLInputType } },
          resolve: () => ({}),
          extensions: { n },
          deprecationReason: n % 3 ? undefined : "old",
        },
      ]),
    );
  return new GraphQLSchema({
    description: "All kinds",
    query: new GraphQLObjectType({ name: "Query", fields: fieldsOf("thing") }),
    mutation: new GraphQLObjectType({
      name: "Mutation",
      extensions: { of: "mutations" },
      fields: {
        ...fieldsOf("change"),
        create: {
          type: objects[0] as GraphQLObjectType,
          args: { ...argumentsOf(inputs), idempotencyKey: { type: GraphQLString } },
          extensions: { directives: { idempotent: {} }, mine: 1 },
        },
      },
    }),
    subscription: new GraphQLObjectType({
      name: "Subscription",
      fields: {
        tick: {
          type: GraphQLInt,
          async *subscribe() {
            yield { tick: 1 };
          },
          args: argumentsOf(inputs),
        },
      },
    }),
    types: nodes,
    directives: specifiedDirectives,
    extensions: { of: "schema" },
  });
}

function argumentsOf(inputs: readonly (readonly [GraphQLInputType, unknown])[]) {
  return Object.fromEntries(
    inputs.map(([type, defaultValue], i) => [`argument${i}`, { type, defaultValue, extensions: { i } }]),
  );
}

/** The members that the directive's definition brings along. */
const added = ["IdempotentEffects", "IdempotentConcurrent", "IdempotentErrors"];

describe("a transformed schema", () => {
  it("has the same types as before, and the same fields but for the resolvers of protected ones", () => {
    const before = largeSchema(100);
    const after = transform(before);
    const typesBefore = before.getTypeMap();
    const typesAfter = after.getTypeMap();
    expect(Object.keys(typesAfter).filter((name) => !added.includes(name))).toEqual(Object.keys(typesBefore));
    const others = Object.keys(typesBefore).filter((name) => typesAfter[name] !== typesBefore[name]);
    expect(others).toEqual(["Mutation"]);
    const { fields: fieldsBefore, ...mutationBefore } = (
      before.getMutationType() as GraphQLObjectType
    ).toConfig();
    const { fields: fieldsAfter, ...mutationAfter } = (
      after.getMutationType() as GraphQLObjectType
    ).toConfig();
    expect(mutationAfter).toEqual(mutationBefore);
    expect(Object.keys(fieldsAfter)).toEqual(Object.keys(fieldsBefore));
    for (const [name, config] of Object.entries(fieldsBefore)) {
      const { resolve, extensions, ...rest } = fieldsAfter[name] as typeof config;
      expect(rest).toEqual((({ resolve, extensions, ...other }) => other)(config));
      expect(resolve === config.resolve).toBe(name !== "create");
      expect(extensions).toMatchObject(config.extensions as object);
      for (const [argument, { defaultValue }] of Object.entries(config.args ?? {})) {
        expect(rest.args?.[argument]?.defaultValue).toBe(defaultValue); // the very same value
      }
    }
    const { types: _before, mutation: _m1, directives: _d1, ...configBefore } = before.toConfig();
    const { types: _after, mutation: _m2, directives: _d2, ...configAfter } = after.toConfig();
    expect(configAfter).toEqual(configBefore);
  });

  it("looks the same to clients", () => {
    const sdl = /* GraphQL */ `
      directive @idempotent(argument: String) on FIELD_DEFINITION
      type Query { discount(of: Float = 12.5): Float }
      type Mutation { "Makes one" create(id: ID, idempotencyKey: ID!): ID @idempotent  other(a: [Int!]! = [1]): ID @deprecated(reason: "old") }
    `;
    const before = makeExecutableSchema({ typeDefs: sdl });
    expect(printSchema(transform(before))).toBe(printSchema(before));
    expect(introspectionFromSchema(transform(before))).toEqual(introspectionFromSchema(before));
  });

  it("leaves the given schema as it was", () => {
    const before = largeSchema(3);
    const fields = { ...before.getMutationType()?.getFields() };
    const resolvers = Object.values(fields).map(({ resolve }) => resolve);
    transform(before, { clientDirective: true });
    expect(before.getMutationType()?.getFields()).toEqual(fields);
    expect(Object.values(before.getMutationType()?.getFields() ?? {}).map(({ resolve }) => resolve)).toEqual(
      resolvers,
    );
  });

  it("computes unprotected fields as before, with default values that have no literal form", async () => {
    const before = new GraphQLSchema({
      query: new GraphQLObjectType({
        name: "Query",
        fields: {
          discount: {
            type: GraphQLFloat,
            args: { of: { type: Percent, defaultValue: 0.125 } },
            resolve: (_root, { of }) => of,
          },
        },
      }),
      mutation: new GraphQLObjectType({
        name: "Mutation",
        fields: {
          create: {
            type: GraphQLInt,
            args: { idempotencyKey: { type: GraphQLString } },
            extensions: { directives: { idempotent: {} } },
          },
        },
      }),
    });
    expect(await graphql({ schema: transform(before), source: "{ discount }" })).toEqual({
      data: { discount: 0.125 },
    });
  });

  it("still has its subscriptions", async () => {
    const events = await subscribe({
      schema: transform(largeSchema(2)),
      document: parse("subscription { tick }"),
    });
    if (!(Symbol.asyncIterator in events))
      throw new Error("The subscription was refused.", { cause: events.errors });
    expect((await events.next()).value).toEqual({ data: { tick: 1 } });
  });

  it("is reported as invalid if it was invalid before", async () => {
    const invalid = new GraphQLSchema({
      mutation: new GraphQLObjectType({ name: "Mutation", fields: { create: { type: GraphQLInt } } }),
    });
    const answer = await graphql({ schema: invalid, source: "mutation { create }" });
    expect(answer.errors?.[0]?.message).toBe("Query root type must be provided.");
    expect(await graphql({ schema: transform(invalid), source: "mutation { create }" })).toEqual(answer);
  });
});

describe("a mutation type that other types lead back to", () => {
  it.each([
    [
      "through a payload",
      "type Query { a: Int } type Payload { id: ID mutation: Mutation! again: [Payload!]! }",
      "Payload",
    ],
    [
      "through a union and an interface",
      "type Query { a: Any node: Node } union Any = Mutation | Payload interface Node { id: ID any: [Any] } type Payload implements Node { id: ID any: [Any] }",
      "Payload",
    ],
  ])("is the protected one everywhere: %s", (_how, types, payload) => {
    const schema = transform(
      makeExecutableSchema({
        typeDefs: `directive @idempotent on FIELD_DEFINITION ${types} type Mutation { create(idempotencyKey: ID!): ${payload} @idempotent }`,
      }),
    );
    const resolvers = new Set([schema.getMutationType()?.getFields().create?.resolve]);
    const inMap = schema.getTypeMap().Mutation as GraphQLObjectType;
    resolvers.add(inMap.getFields().create?.resolve);
    expect(resolvers.size).toBe(1);
    expect([...resolvers][0]?.name).toBe("idempotentResolver");
  });

  it("may even be the query type", () => {
    const schema = transform(
      makeExecutableSchema({
        typeDefs: `directive @idempotent on FIELD_DEFINITION schema { query: Root mutation: Root } type Root { create(idempotencyKey: ID!): ID @idempotent root: Root }`,
      }),
    );
    expect(schema.getQueryType()).toBe(schema.getMutationType());
  });
});
