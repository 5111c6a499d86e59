import type { OpenEntries } from "./entries.ts";
import { leaseSuite } from "./leases.ts";
import { onceSuite } from "./once.ts";
import { recordSuite } from "./records.ts";

/** What every store must pass. */
export function storeSuite<Tx>(open: OpenEntries<Tx>): void {
  onceSuite(open);
  leaseSuite(open);
  recordSuite(open);
}
