import type { GraphQLSchema } from "graphql";
import { badUserInput } from "./errors.ts";
import { checkRootFields } from "./root-fields.ts";

/** PostgreSQL's text can't hold the character NUL, so no field takes it, on SQLite neither. */
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
