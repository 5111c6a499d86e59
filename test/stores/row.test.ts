import { describe, expect, it } from "vitest";
import {
  blockingClaim,
  changedRow,
  claimed,
  isClaimed,
  isOwned,
  liveRecord,
  newClaimRow,
  type Row,
  recordRow,
} from "../../src/stores/row.ts";
import type { ClaimRequest } from "../../src/stores/store.ts";

const now = 1_000;
const identity = { scope: "alice", field: "Mutation.pay", key: "k" };
const step = { format: "json", payload: "1" } as const;

const record: Row = {
  ...identity,
  fingerprint: "f",
  format: "json",
  payload: "{}",
  resourceId: "r",
  createdAt: 500,
  expiresAt: now + 1,
  leaseUntil: null,
  fencingToken: null,
};
const held: Row = { ...record, resourceId: null, leaseUntil: now + 1, fencingToken: 7 };
const released: Row = { ...held, leaseUntil: now };
const expired = (row: Row): Row => ({ ...row, expiresAt: now });

const request: ClaimRequest = {
  fingerprint: "f",
  matches: (stored) => stored === "f",
  leaseMs: 30,
  retentionMs: 100,
};
const found = { kind: "found", record };
const heldBy = (row: Row) => ({ kind: "held", fingerprint: row.fingerprint, leaseUntil: row.leaseUntil });

describe("what a row means to a call", () => {
  it.each<[string, Row | undefined, { live: boolean; claimed: boolean; blocking: unknown }]>([
    ["no row", undefined, { live: false, claimed: false, blocking: undefined }],
    ["a record", record, { live: true, claimed: false, blocking: found }],
    ["a record at its expiry", expired(record), { live: false, claimed: false, blocking: undefined }],
    ["a held claim", held, { live: false, claimed: true, blocking: heldBy(held) }],
    ["a held claim at its expiry", expired(held), { live: false, claimed: false, blocking: undefined }],
    ["a claim at the end of its lease", released, { live: false, claimed: true, blocking: undefined }],
    [
      "a released claim for other arguments",
      { ...released, fingerprint: "g" },
      { live: false, claimed: true, blocking: heldBy({ ...released, fingerprint: "g" }) },
    ],
    [
      "an expired claim for other arguments",
      expired({ ...released, fingerprint: "g" }),
      { live: false, claimed: false, blocking: undefined },
    ],
  ])("%s", (_, row, expected) => {
    expect(liveRecord(row, now)).toBe(expected.live ? row : undefined);
    expect(isClaimed(row, now)).toBe(expected.claimed);
    expect(blockingClaim(row, request, now)).toEqual(expected.blocking);
  });
});

describe("a new claim", () => {
  it.each<[string, Row | undefined, { payload: string; fencingToken: number }]>([
    ["of a key without a row", undefined, { payload: "{}", fencingToken: now }],
    ["after a released claim", { ...released, payload: "steps" }, { payload: "steps", fencingToken: now }],
    [
      "after a token that is ahead of the clock",
      { ...released, fencingToken: now },
      { payload: "{}", fencingToken: now + 1 },
    ],
    [
      "after an expired claim",
      expired({ ...released, payload: "steps" }),
      { payload: "{}", fencingToken: now },
    ],
    [
      "after an expired record",
      expired({ ...record, payload: "result" }),
      { payload: "{}", fencingToken: now },
    ],
  ])("%s", (_, row, { payload, fencingToken }) => {
    expect(newClaimRow(identity, request, row, now)).toEqual({
      ...identity,
      fingerprint: "f",
      format: "json",
      resourceId: null,
      payload,
      createdAt: now,
      expiresAt: now + 100,
      leaseUntil: now + 30,
      fencingToken,
    });
  });

  it("lasts at least as long as its lease", () => {
    expect(newClaimRow(identity, { ...request, leaseMs: 200 }, undefined, now)).toMatchObject({
      expiresAt: now + 200,
      leaseUntil: now + 200,
    });
  });

  it("is answered with its lease and the finished steps", () => {
    const row = { ...held, fencingToken: 7, payload: JSON.stringify({ charge: step }) };
    expect(claimed(row)).toEqual({
      kind: "claimed",
      lease: { identity, fencingToken: 7 },
      steps: { charge: step },
    });
  });
});

describe("a claim is owned", () => {
  it.each<[string, Row | undefined, boolean]>([
    ["by the lease with its token", held, true],
    ["also after its lease has ended, while no other call has taken over", released, true],
    ["by no lease with a lower token", { ...held, fencingToken: 8 }, false],
    ["by no lease with a higher token", { ...held, fencingToken: 6 }, false],
    ["by no lease once it has finished", { ...held, leaseUntil: null }, false],
    ["by no lease once it is gone", undefined, false],
  ])("%s", (_, row, expected) => {
    expect(isOwned(row, { identity, fencingToken: 7 })).toBe(expected);
  });
});

describe("a change by the owner", () => {
  it("renews the lease, and the expiry where the lease would outlast it", () => {
    expect(changedRow(held, { kind: "renew", leaseMs: 50 }, now)).toEqual({
      ...held,
      leaseUntil: now + 50,
      expiresAt: now + 50,
    });
    const longKept = { ...held, expiresAt: now + 100 };
    expect(changedRow(longKept, { kind: "renew", leaseMs: 50 }, now)).toEqual({
      ...longKept,
      leaseUntil: now + 50,
    });
  });

  it.each(["charge", "__proto__", "null", ""])("adds the step %j to the finished ones", (name) => {
    const before = { ...held, payload: JSON.stringify({ ship: step }) };
    const { payload } = changedRow(before, { kind: "step", name, payload: step }, now);
    expect(Object.entries(JSON.parse(payload))).toEqual([
      ["ship", step],
      [name, step],
    ]);
  });

  it("finishes: the record takes the claim's place, and the token stays", () => {
    const { leaseUntil, fencingToken, ...stored } = { ...record, payload: "result" };
    expect(changedRow(held, { kind: "finish", record: stored }, now)).toEqual({
      ...stored,
      leaseUntil: null,
      fencingToken: 7,
    });
  });

  it("releases: the next call may take over at once", () => {
    const row = changedRow(held, { kind: "release" }, now);
    expect(row).toEqual({ ...held, leaseUntil: now });
    expect(blockingClaim(row, request, now)).toBeUndefined();
  });
});

it("the row of a record is a record, and nothing else of its source gets in", () => {
  const source = { ...record, leaseUntil: 5, fencingToken: 5, extra: true };
  expect(recordRow(source)).toEqual(record);
});
