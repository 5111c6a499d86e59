import type { Answer, StartedShop } from "./start-shop.ts";

// Seeded products.
export const jug = "01990000-0000-7000-8000-000000000101";
export const grinder = "01990000-0000-7000-8000-000000000102";
export const lastCup = "01990000-0000-7000-8000-000000000104";
export const file = "01990000-0000-7000-8000-000000000105";

/** The request of an order of two jugs, unless the input says otherwise. */
export function createOrder(key: string, input: object = {}, selection = allFields): object {
  return {
    query: `mutation ($input: CreateOrderInput!, $key: ID) {
      createOrder(input: $input, idempotencyKey: $key) { ${selection} }
    }`,
    variables: { input: { productId: jug, quantity: 2, ...input }, key },
  };
}

const allFields = "id quantity note total { amount currency } status createdAt";

export async function stockOf(shop: StartedShop, productId: string): Promise<number> {
  const { body } = await shop.ask({
    query: "query ($id: ID!) { product(id: $id) { stock } }",
    variables: { id: productId },
  });
  return body.data.product.stock;
}

export function errorOf({ status, body }: Answer) {
  return { status, code: body.errors[0].extensions.code, message: body.errors[0].message };
}
