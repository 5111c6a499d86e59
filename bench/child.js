// Processes of the bench: started by main, asked over IPC, one answer to each question.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Starts a script of this folder. It is ready once its first message has come; that is `child.hello`. */
export async function startChild(script, parameters, { execArgv = [], env = {} } = {}) {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), [JSON.stringify(parameters)], {
    execArgv,
    env: { ...process.env, NODE_ENV: "production", ...env },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  let next = 0;
  const waiting = new Map();
  const exited = once(child, "exit").then(([code, signal]) => {
    const error = new Error(
      `${script} for ${parameters.server ?? "the bench"} ended with ${signal ?? code}.`,
    );
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    return error;
  });
  child.on("message", ({ id, value, error }) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(new Error(`${script}: ${error}`));
  });

  const ready = new Promise((resolve, reject) => waiting.set("hello", { resolve, reject }));

  function ask(question, data) {
    const id = next++;
    const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    child.send({ id, question, data });
    return answer;
  }

  async function stop() {
    if (child.connected) child.disconnect(); // what its side takes as the word to end
    await exited;
  }

  return { hello: await ready, ask, stop };
}

let endGracefully = () => {};

// Main may be gone before this process has started, and let go while it still does: so it looks from its first
// import on. In main itself, `connected` is undefined.
if (process.connected === false) process.exit(1);
if (process.connected) {
  process.once("disconnect", async () => {
    setTimeout(() => process.exit(1), 5_000); // for an end that waits for who is gone
    await endGracefully();
    process.exit();
  });
}

/** The child's side: `answers` are functions by the name of their question; `end` runs when main lets go. */
export function serveParent(hello, answers, end = () => {}) {
  const answer = (message) => process.send(message, () => {}); // main may have ended before it hears
  process.on("message", async ({ id, question, data }) => {
    try {
      answer({ id, value: await answers[question](data) });
    } catch (error) {
      answer({ id, error: error.stack ?? String(error) });
    }
  });
  endGracefully = end;
  answer({ id: "hello", value: hello });
}

/** What the parent started this process with. */
export function parameters() {
  return JSON.parse(process.argv[2]);
}
