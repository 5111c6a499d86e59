/** One change that a process made to the files it was watched on; see interpose.c. */
export type Change =
  | { readonly kind: "open"; readonly fd: number; readonly path: string }
  | { readonly kind: "close" | "sync"; readonly fd: number }
  | { readonly kind: "write"; readonly fd: number; readonly offset: number; readonly data: Buffer }
  | { readonly kind: "truncate"; readonly fd: number; readonly size: number }
  | { readonly kind: "unlink"; readonly path: string }
  | { readonly kind: "rename"; readonly from: string; readonly to: string };

const headerBytes = 24;

/** Reads what interpose.c has written down. */
export function parseTrace(bytes: Buffer): Change[] {
  const changes: Change[] = [];
  for (let at = 0; at < bytes.length; ) {
    const operation = String.fromCharCode(bytes.readUInt32LE(at));
    const fd = bytes.readInt32LE(at + 4);
    const offset = Number(bytes.readBigUInt64LE(at + 8));
    const length = bytes.readUInt32LE(at + 16);
    const data = bytes.subarray(at + headerBytes, at + headerBytes + length);
    changes.push(changeOf(operation, fd, offset, data));
    at += headerBytes + length;
  }
  return changes;
}

function changeOf(operation: string, fd: number, offset: number, data: Buffer): Change {
  switch (operation) {
    case "O":
      return { kind: "open", fd, path: data.toString() };
    case "C":
      return { kind: "close", fd };
    case "S":
      return { kind: "sync", fd };
    case "W":
      return { kind: "write", fd, offset, data };
    case "T":
      return { kind: "truncate", fd, size: offset };
    case "U":
      return { kind: "unlink", path: data.toString() };
    case "R": {
      const [from = "", to = ""] = data.toString().split("\0");
      return { kind: "rename", from, to };
    }
    default:
      throw new Error(`The trace has an operation ${JSON.stringify(operation)} that nobody knows.`);
  }
}
