import { expect, it } from "vitest";
import { openBank } from "./bank/bank.ts";
import { compareWithModel } from "./model.ts";

const seed = Number(process.env.TORTURE_SEED ?? Date.now() % 2 ** 31);

it(`random histories go as the model says (TORTURE_SEED=${seed})`, async () => {
  await compareWithModel({ histories: 60, seed });
});

it.each<[string, Parameters<typeof compareWithModel>[0]["open"]]>([
  [
    "answers a retry anew",
    async (...options) => {
      const bank = await openBank(...options);
      return {
        ...bank,
        pay: async (payment) => ({ ...(await bank.pay(payment)), result: String(Math.random()) }),
      };
    },
  ],
  [
    "does a retry's effect again",
    async (...options) => {
      const bank = await openBank(...options);
      return {
        ...bank,
        async pay(payment) {
          const answer = await bank.pay(payment);
          await bank.store.write((tx) =>
            tx.run(
              "INSERT INTO transfers (key, from_account, to_account, amount, memo) VALUES ('a', 'savings', 'shopping', 1, '')",
            ),
          );
          return answer;
        },
      };
    },
  ],
])("a bank that %s is seen to differ from the model", async (_name, open) => {
  await expect(compareWithModel({ histories: 60, seed, ...(open && { open }) })).rejects.toThrow(/should be/);
});
