import { statSync } from "node:fs";

/**
 * Returns a function that tells whether a path still leads to the file that it leads to now. SQLite itself keeps
 * writing to a file that has been moved or deleted (sqlite.org/howtocorrupt.html, section 2.5), and no later
 * process would look for it there.
 */
export function fileIdentity(path: string): () => boolean {
  const opened = statSync(path);

  return function isSameFile() {
    const found = statSync(path, { throwIfNoEntry: false });
    return found !== undefined && found.ino === opened.ino && found.dev === opened.dev;
  };
}
