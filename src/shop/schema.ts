import { readFileSync } from "node:fs";
import { makeExecutableSchema } from "@graphql-tools/schema";
import type { GraphQLSchema } from "graphql";
import { idempotent } from "graphql-idempotent";
import { requireCustomer } from "./authentication.ts";
import type { CustomerContext } from "./context.ts";
import { customerResolvers } from "./customers.ts";
import type { ShopDatabase, ShopTransaction } from "./database.ts";
import { invoiceResolvers } from "./invoices.ts";
import { orderResolvers } from "./orders.ts";
import { productResolvers } from "./products.ts";
import { refuseNul } from "./refuse-nul.ts";
import { transferResolvers } from "./transfers.ts";

const sdl = readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8");

export function createSchema(database: ShopDatabase): GraphQLSchema {
  const idempotency = idempotent<CustomerContext, ShopTransaction>({
    store: database.store,
    scope: ({ customer }) => customer.id,
    header: ({ idempotencyKey }) => idempotencyKey,
    clientDirective: true,
    requireOn: "all-mutations",
    except: ["cancelOrder", "updateAddress"],
  });
  const schema = makeExecutableSchema({
    typeDefs: [idempotency.typeDefs, sdl],
    resolvers: [customerResolvers, productResolvers, orderResolvers, transferResolvers, invoiceResolvers].map(
      (resolversOf) => resolversOf(database),
    ),
  });
  return requireCustomer(idempotency.transform(refuseNul(schema)));
}
