import { statSync } from "node:fs";

/**
 * Returns a function that tells whether a path still leads to the file that it leads to now. SQLite itself keeps
 * writing to a file that has been moved or deleted (sqlite.org/howtocorrupt.html, section 2.5), and no later
 * process would look for it there. The function never throws: it is called between a commit and its answers.
 */
export function fileIdentity(path: string): () => boolean {
  const opened = statSync(path);

  return function isSameFile() {
    try {
      const found = statSync(path);
      return found.ino === opened.ino && found.dev === opened.dev;
    } catch {
      return false; // gone, or out of reach: no other process could open it by this path either
    }
  };
}
