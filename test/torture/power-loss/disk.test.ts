import { describe, expect, it } from "vitest";
import type { Change } from "../interpose/trace.ts";
import { seeded } from "../random.ts";
import { ForgetfulDisk } from "./disk.ts";

const openDirectory: Change = { kind: "open", fd: 1, path: "/d" };
const openFile: Change = { kind: "open", fd: 2, path: "/d/file" };
const syncDirectory: Change = { kind: "sync", fd: 1 };
const syncFile: Change = { kind: "sync", fd: 2 };
const write = (text: string, offset = 0): Change => ({
  kind: "write",
  fd: 2,
  offset,
  data: Buffer.from(text),
});

/** Every content of `file` that many power cuts leave; "-" for no file. */
function outcomes(...changes: Change[]): Set<string> {
  const disk = new ForgetfulDisk("/d");
  for (const change of changes) disk.apply(change);
  const random = seeded(1);
  return new Set(Array.from({ length: 2_000 }, () => disk.image(random).get("file")?.toString() ?? "-"));
}

describe("a disk that forgets", () => {
  it("keeps what was synced, data and name", () => {
    expect(outcomes(openDirectory, openFile, write("new"), syncFile, syncDirectory)).toEqual(
      new Set(["new"]),
    );
  });

  it("can lose a name that was not synced, though its data was", () => {
    expect(outcomes(openDirectory, openFile, write("new"), syncFile)).toEqual(new Set(["new", "-"]));
  });

  it("can bring back a file whose removal was not synced", () => {
    const removed: Change = { kind: "unlink", path: "/d/file" };
    expect(outcomes(openDirectory, openFile, write("old"), syncFile, syncDirectory, removed)).toEqual(
      new Set(["old", "-"]),
    );
  });

  it("can keep, lose or tear a write that was not synced", () => {
    const found = outcomes(openDirectory, openFile, write("old"), syncFile, syncDirectory, write("new"));
    expect(found).toContain("old");
    expect(found).toContain("new");
    expect(found).toContain("nld");
  });

  it("can keep a later write and lose an earlier one", () => {
    const start = "a".repeat(1_024);
    const found = outcomes(
      openDirectory,
      openFile,
      write(start),
      syncFile,
      syncDirectory,
      write("b".repeat(512)),
      write("c".repeat(512), 512),
    );
    expect(found).toContain("a".repeat(512) + "c".repeat(512));
    expect(found).toContain("b".repeat(512) + "a".repeat(512));
  });

  it("can lose or keep a truncation that was not synced", () => {
    const cut: Change = { kind: "truncate", fd: 2, size: 1 };
    expect(outcomes(openDirectory, openFile, write("old"), syncFile, syncDirectory, cut)).toEqual(
      new Set(["old", "o"]),
    );
  });

  it("can leave zeros or garbage where a file has grown and its data has not arrived", () => {
    const found = [...outcomes(openDirectory, openFile, syncFile, syncDirectory, write("new"))];
    expect(found).toContain("\0\0\0");
    expect(found.some((content) => content.length === 3 && content !== "new" && content !== "\0\0\0")).toBe(
      true,
    );
  });
});
