import { statSync } from "node:fs";

/**
 * Tells whether a file is still where it was opened. SQLite itself goes on writing into a file that has been
 * moved or removed (sqlite.org/howtocorrupt.html, section 2.5), where no later process would look for it.
 */
export function placeOf(file: string): () => boolean {
  const opened = statSync(file);

  return function isInPlace() {
    const found = statSync(file, { throwIfNoEntry: false });
    return found !== undefined && found.ino === opened.ino && found.dev === opened.dev;
  };
}
