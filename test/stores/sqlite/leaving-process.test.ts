import { spawn } from "node:child_process";
import { once as event } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const loader = createRequire(import.meta.url).resolve("tsx");
const program = fileURLToPath(new URL("leaving-process.ts", import.meta.url));

it("a process ends with its work: neither an open database nor bounds of ten minutes keep it", async () => {
  const child = spawn(process.execPath, ["--import", loader, program], { stdio: "inherit", timeout: 60_000 });
  expect(await event(child, "exit")).toEqual([0, null]);
});
