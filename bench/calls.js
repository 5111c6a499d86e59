// Calls without HTTP: graphql-js executes the parsed operation, many at once.
import { createHistogram } from "node:perf_hooks";
import { execute, parse } from "graphql";
import { v4, v7 } from "uuid";
import { input, operation } from "./work.js";

const document = parse(operation);
const makeKey = { v4, v7 };

/**
 * Calls once for each identity, `atOnce` at a time.
 *
 * @param {import("graphql").GraphQLSchema} schema
 * @param {{ scope: string, key: string }[]} identities
 */
export async function callAll(schema, identities, atOnce) {
  const latency = createHistogram();
  let next = 0;

  async function caller() {
    while (next < identities.length) {
      const { scope, key } = identities[next++];
      const started = performance.now();
      const { data, errors } = await execute({
        schema,
        document,
        variableValues: { input, key },
        contextValue: { customer: scope },
      });
      latency.record(Math.max(1, Math.round((performance.now() - started) * 1000)));
      if (errors || !data?.createOrder.id) throw new Error(`A call failed: ${errors}`);
    }
  }

  const cpu = process.cpuUsage();
  const started = performance.now();
  await Promise.all(Array.from({ length: atOnce }, caller));
  const microseconds = ((performance.now() - started) * 1000) / identities.length;
  const { user, system } = process.cpuUsage(cpu);
  return {
    microseconds,
    cpuMicroseconds: (user + system) / identities.length,
    latencyUs: { p50: latency.percentile(50), p99: latency.percentile(99) },
  };
}

/** @param {{ calls: number, keys: "v4" | "v7", customers: number }} wanted */
export function newIdentities({ calls, keys, customers }) {
  return Array.from({ length: calls }, () => ({
    scope: `customer-${Math.floor(Math.random() * customers)}`,
    key: makeKey[keys](),
  }));
}
