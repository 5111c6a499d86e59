import type { GraphQLSchema } from "graphql";
import { badUserInput } from "./errors.ts";
import { checkRootFields } from "./root-fields.ts";

/** PostgreSQL can't store the character NUL in text, so every field refuses it, on SQLite too. */
export function refuseNul(schema: GraphQLSchema): GraphQLSchema {
  return checkRootFields(schema, (args) => {
    if (!hasNul(args)) return;
    throw badUserInput("A text must be without the character NUL (U+0000), but one has it. Leave it out.");
  });
}

function hasNul(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\0");
  return typeof value === "object" && value !== null && Object.values(value).some(hasNul);
}
