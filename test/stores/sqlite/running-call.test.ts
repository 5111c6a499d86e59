import { expect, it } from "vitest";
import { currentCall, type RunningCall, runAsCall } from "../../../src/stores/sqlite/running-call.ts";

it("a call that is over is held by none of those that its code starts later", () => {
  const outer: RunningCall = { file: "a", isOver: false, outer: undefined };
  const inner: RunningCall = { file: "b", isOver: false, outer };
  runAsCall(inner, () => {
    expect(currentCall()).toBe(inner);
    inner.isOver = true;
    expect(currentCall()).toBe(outer);
    outer.isOver = true;
    expect(currentCall()).toBeUndefined();
  });
});
