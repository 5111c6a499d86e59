import { MapperKind, mapSchema } from "@graphql-tools/utils";
import { defaultFieldResolver, type GraphQLFieldConfig, type GraphQLSchema } from "graphql";
import { badUserInput } from "./errors.ts";

/** PostgreSQL's text can't hold the character NUL, so no field takes it, on SQLite neither. */
export function refuseNul(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.ROOT_FIELD]: (config: GraphQLFieldConfig<unknown, unknown>) => {
      const resolve = config.resolve ?? defaultFieldResolver;
      return {
        ...config,
        resolve: function textResolver(root, args, context, info) {
          if (hasNul(args)) {
            throw badUserInput(
              "A text must be without the character NUL (U+0000), but one has it. Leave it out.",
            );
          }
          return resolve(root, args, context, info);
        },
      };
    },
  });
}

function hasNul(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\0");
  return typeof value === "object" && value !== null && Object.values(value).some(hasNul);
}
