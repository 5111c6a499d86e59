import { describe } from "vitest";
import { claimSuite } from "./claims.ts";
import { duplicateSuite } from "./duplicates.ts";
import type { OpenEntries } from "./entries.ts";
import { keyAgeSuite } from "./key-age.ts";
import { lateRunSuite } from "./late-runs.ts";
import { leaseSuite } from "./leases.ts";
import { onceSuite } from "./once.ts";
import { recordSuite } from "./records.ts";
import { renewalSuite } from "./renewals.ts";
import { stepSuite } from "./steps.ts";

/** What every store must pass. */
export function storeSuite<Tx>(open: OpenEntries<Tx>): void {
  describe("a call", () => onceSuite(open));
  describe("a duplicate of a running call", () => duplicateSuite(open));
  describe("a key that tells its age", () => keyAgeSuite(open));
  recordSuite(open);
  describe("a call under a lease", () => leaseSuite(open));
  describe("a run whose lease is over", () => lateRunSuite(open));
  describe("a lease", () => renewalSuite(open));
  describe("a claim", () => claimSuite(open));
  describe("the steps of a call under a lease", () => stepSuite(open));
}
