import { randomUUID } from "node:crypto";
import type { ApolloServerPlugin } from "@apollo/server";
import { demoCustomers, demoProduct } from "./seed.ts";

const operation = `# Run it twice: the retry gets the same order,
# and the stock falls once. "extensions" tells
# which was which. A new key, a new order.
mutation Order($input: CreateOrderInput!, $key: ID!) {
  createOrder(input: $input, idempotencyKey: $key) {
    id
    status
    quantity
    total {
      amount
      currency
    }
    product {
      name
      stock
    }
  }
}
`;

/** Serves GraphiQL to browsers on GET /graphql, as one page that contains all of its scripts. */
export function graphiqlPlugin(hasDemoTokens: boolean): ApolloServerPlugin {
  let page: Promise<string> | undefined;
  return {
    async serverWillStart() {
      return {
        async renderLandingPage() {
          return {
            html: () => {
              page ??= renderPage(hasDemoTokens);
              return page;
            },
          };
        },
      };
    },
  };
}

/** The package has 9 MB of scripts, so it is loaded when the page is first requested. */
async function renderPage(hasDemoTokens: boolean): Promise<string> {
  const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
  const headers = pretty({ Authorization: `Bearer ${hasDemoTokens ? demoCustomers[0].token : "<token>"}` });
  // The function's types describe GraphQL Yoga's options only, but it passes all of GraphiQL's properties on.
  const properties = {
    title: "Shop",
    logo: "",
    query: operation,
    initialVariables: pretty({ input: { productId: demoProduct.id, quantity: 1 }, key: randomUUID() }),
    initialHeaders: headers,
    defaultHeaders: headers,
  };
  return renderGraphiQL(properties);
}

function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
