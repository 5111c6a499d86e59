import { MapperKind, mapSchema } from "@graphql-tools/utils";
import { defaultFieldResolver, type GraphQLFieldConfig, type GraphQLSchema } from "graphql";

/** Returns a schema whose Query and Mutation fields call `check` first, and don't run when it throws. */
export function checkRootFields<Context>(
  schema: GraphQLSchema,
  check: (args: unknown, context: Context) => void,
): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.ROOT_FIELD]: (config: GraphQLFieldConfig<unknown, Context>) => {
      const resolve = config.resolve ?? defaultFieldResolver;
      return {
        ...config,
        resolve: function checkedResolver(root, args, context, info) {
          check(args, context);
          return resolve(root, args, context, info);
        },
      };
    },
  });
}
