/**
 * Keeps the process alive when its log can't be written: on a full disk (ENOSPC), or when the reader of a pipe has
 * ended (EPIPE). The line is lost; a log on a disk goes on when the disk has space again. Without listeners for these
 * errors, Node ends the process, and a lost line of the log becomes an outage.
 */
export function ignoreLogErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignore);
}

function ignore(): void {}
