import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql } from "graphql";
import * as one from "graphql-idempotent";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type Entries, openEntries } from "../stores/sqlite/entries-database.ts";

let two: typeof one;
beforeAll(async () => {
  vi.resetModules();
  two = await import("graphql-idempotent");
});

const call = { scope: "alice", field: "create", key: "1" };

function schemaOf(copy: typeof one, store: Entries["store"], create: () => unknown) {
  const idempotency = copy.idempotent({ store, scope: one.SHARED });
  return idempotency.transform(
    makeExecutableSchema({
      typeDefs: [
        idempotency.typeDefs,
        "type Query { none: Int } type Mutation { create(idempotencyKey: ID!): Int @idempotent }",
      ],
      resolvers: { Mutation: { create } },
    }),
  );
}

const operation = 'mutation { create(idempotencyKey: "1") }';

describe("two copies of the package in one server", () => {
  it("are two", () => {
    expect(two.IdempotencyError).not.toBe(one.IdempotencyError);
  });

  it("recognise each other's errors", async () => {
    await using opened = await openEntries();
    const create = () => {
      throw new one.IdempotencyError("IDEMPOTENCY_DEADLINE_EXCEEDED", "Too slow.");
    };
    const { errors } = await graphql({
      schema: schemaOf(two, opened.store, create),
      source: operation,
      contextValue: {},
    });
    expect(errors?.[0]?.extensions).toEqual({
      code: "IDEMPOTENCY_DEADLINE_EXCEEDED",
      idempotency: { key: "1", retryable: true, safeToUseNewKey: false },
    });
  });

  it("don't mistake another library's error for one of theirs", async () => {
    await using opened = await openEntries();
    const create = () => {
      throw Object.assign(new Error("secret"), { code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    };
    const { errors } = await graphql({
      schema: schemaOf(two, opened.store, create),
      source: operation,
      contextValue: {},
    });
    expect(errors?.[0]).toMatchObject({ message: "Internal server error" });
  });

  it.each([
    ["that can be written", {}],
    ["that is frozen", Object.freeze({})],
  ])("collect each other's outcomes, by a context %s", async (_what, contextValue) => {
    await using opened = await openEntries();
    const outcomes = one.collectOutcomes(contextValue);
    await graphql({ schema: schemaOf(two, opened.store, () => 1), source: operation, contextValue });
    expect(outcomes).toMatchObject([{ key: "1", replayed: false }]);
  });

  it("share SHARED", () => {
    expect(two.SHARED).toBe(one.SHARED);
  });

  it("see each other's running calls", async () => {
    await using opened = await openEntries();
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = one.once(opened.store, call, () => held);
    await expect(two.once(opened.store, { ...call, concurrent: "REJECT" }, () => {})).rejects.toMatchObject({
      code: "IDEMPOTENCY_CONCURRENT_REQUEST",
    });
    release();
    await first;
  });

  it("refuse to protect a field twice", async () => {
    await using opened = await openEntries();
    const schema = schemaOf(one, opened.store, () => 1);
    const again = two.idempotent({ store: opened.store, scope: two.SHARED });
    expect(() => again.transform(schema)).toThrow("Mutation.create is protected already");
  });
});

describe("transform() twice", () => {
  it("is refused, also with a wrap between", async () => {
    await using opened = await openEntries();
    const { MapperKind, mapSchema } = await import("@graphql-tools/utils");
    const wrapped = mapSchema(
      schemaOf(one, opened.store, () => 1),
      {
        [MapperKind.MUTATION_ROOT_FIELD]: (config) => ({
          ...config,
          resolve: (...args) => config.resolve?.(...args),
          extensions: { ...config.extensions, mine: true },
        }),
      },
    );
    const again = one.idempotent({ store: opened.store, scope: one.SHARED });
    expect(() => again.transform(wrapped)).toThrow("Mutation.create is protected already");
  });
});
