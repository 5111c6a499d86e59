import { randomUUID } from "node:crypto";
import type { ApolloServerPlugin } from "@apollo/server";
import { demoCustomers, demoProduct } from "./seed.ts";

const operation = `# Run it twice: the second answer is the first one again, and the stock has fallen once.
# "extensions" says which is which. Another key makes another order.
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

/** GraphiQL on GET /graphql for browsers: one page with all of its scripts in it. */
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

/** The package has 9 MB of scripts, so it is loaded when somebody wants to see it. */
async function renderPage(hasDemoTokens: boolean): Promise<string> {
  const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
  const token = hasDemoTokens ? demoCustomers[0]?.token : "<token>";
  return renderGraphiQL({
    title: "Shop · GraphiQL",
    defaultTabs: [
      {
        query: operation,
        variables: pretty({ input: { productId: demoProduct.id, quantity: 1 }, key: randomUUID() }),
        headers: pretty({ Authorization: `Bearer ${token}` }),
      },
    ],
  });
}

function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
