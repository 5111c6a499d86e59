import type { InferInsertModel, InferSelectModel, Table } from "drizzle-orm";
import { expectTypeOf, it } from "vitest";
import type * as postgres from "../../src/shop/postgres/tables.ts";
import type * as sqlite from "../../src/shop/sqlite/tables.ts";

type RowsOf<Tables extends Record<keyof Tables, Table>> = {
  [Name in keyof Tables]: { read: InferSelectModel<Tables[Name]>; written: InferInsertModel<Tables[Name]> };
};

it("the tables of both engines have the same names, and rows of the same types", () => {
  expectTypeOf<RowsOf<typeof sqlite>>().toEqualTypeOf<RowsOf<typeof postgres>>();
});
