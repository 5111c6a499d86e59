import type { Change } from "../interpose/trace.ts";
import type { Random } from "../random.ts";

/**
 * A disk that forgets: it follows the changes that a process makes to the files of one directory, and tells
 * what could be there after a power cut.
 *
 * What POSIX promises, and no more: a sync of a file makes its data and its size durable, a sync of the
 * directory makes names durable. Of all else any part may have arrived, in any order, in sectors of 512 bytes,
 * the sector that was being written torn at any byte. Where a file has grown and its data has not arrived, it
 * reads as zeros or as garbage.
 */
export class ForgetfulDisk {
  readonly #directory: string;
  readonly #open = new Map<number, File | "directory">();
  readonly #names = new Map<string, File>();
  readonly #syncedNames = new Map<string, File>();
  #renames: { readonly name: string; readonly file: File | undefined }[] = [];

  constructor(directory: string) {
    this.#directory = directory;
  }

  apply(change: Change): void {
    switch (change.kind) {
      case "open":
        this.#open.set(change.fd, change.path === this.#directory ? "directory" : this.#fileAt(change.path));
        break;
      case "close":
        this.#open.delete(change.fd);
        break;
      case "write":
      case "truncate":
        this.#openFile(change.fd).change(change);
        break;
      case "sync":
        this.#sync(change.fd);
        break;
      case "unlink":
        this.#rename(this.#nameOf(change.path), undefined);
        break;
      case "rename":
        this.#rename(this.#nameOf(change.to), this.#fileAt(change.from));
        this.#rename(this.#nameOf(change.from), undefined);
    }
  }

  /** The files as a power cut could leave them now. */
  image(random: Random): Map<string, Buffer> {
    // Cuts differ in how much of what was not synced has arrived: nothing, a little, most, or all of it.
    const arrival = random.pick([0, 10, 50, 90, 100]);
    const names = new Map(this.#syncedNames);
    for (const { name, file } of this.#renames) {
      if (!random.percent(arrival)) continue;
      if (file) names.set(name, file);
      else names.delete(name);
    }
    const image = new Map<string, Buffer>();
    for (const [name, file] of names) image.set(name, file.after(arrival, random));
    return image;
  }

  /** What a process sees that reads the file now, without any power cut. */
  contents(name: string): Buffer {
    return this.#names.get(name)?.contents() ?? Buffer.alloc(0);
  }

  #sync(fd: number): void {
    if (this.#open.get(fd) !== "directory") {
      this.#openFile(fd).sync();
      return;
    }
    for (const { name, file } of this.#renames) {
      if (file) this.#syncedNames.set(name, file);
      else this.#syncedNames.delete(name);
    }
    this.#renames = [];
  }

  #fileAt(path: string): File {
    const name = this.#nameOf(path);
    const known = this.#names.get(name);
    if (known) return known;
    const created = new File();
    this.#rename(name, created);
    return created;
  }

  #rename(name: string, file: File | undefined): void {
    if (file) this.#names.set(name, file);
    else this.#names.delete(name);
    this.#renames.push({ name, file });
  }

  #openFile(fd: number): File {
    const file = this.#open.get(fd);
    if (file instanceof File) return file;
    throw new Error(`The trace changes file descriptor ${fd}, which it never opened.`);
  }

  #nameOf(path: string): string {
    return path.slice(this.#directory.length + 1);
  }
}

type FileChange = Extract<Change, { readonly kind: "write" | "truncate" }>;

const sectorBytes = 512;

class File {
  #synced: Buffer = Buffer.alloc(0);
  #changes: FileChange[] = [];

  change(change: FileChange): void {
    this.#changes.push(change);
  }

  sync(): void {
    this.#synced = this.contents();
    this.#changes = [];
  }

  contents(): Buffer {
    const bytes = new Bytes(this.#synced);
    for (const change of this.#changes) {
      if (change.kind === "truncate") bytes.resize(change.size);
      else bytes.put(change.offset, change.data);
    }
    return bytes.take();
  }

  /** The contents when only so many of a hundred unsynced sectors have arrived. */
  after(arrival: number, random: Random): Buffer {
    const bytes = new Bytes(this.#synced);
    const garbage = random.percent(50) ? random.between(0, 0xffffffff) : 0;
    for (const change of this.#changes) {
      if (change.kind === "truncate") {
        if (random.percent(arrival)) bytes.resize(change.size, garbage);
      } else {
        this.#arrive(bytes, change.offset, change.data, arrival, random, garbage);
      }
    }
    return bytes.take();
  }

  #arrive(
    bytes: Bytes,
    offset: number,
    data: Buffer,
    arrival: number,
    random: Random,
    garbage: number,
  ): void {
    // The size of a file is metadata, and can arrive before any data.
    if (random.percent(arrival)) bytes.grow(offset + data.length, garbage);
    for (let at = 0; at < data.length; ) {
      const end = Math.min(data.length, at + sectorBytes - ((offset + at) % sectorBytes));
      if (random.percent(arrival)) bytes.put(offset + at, data.subarray(at, end), garbage);
      else if (random.percent(arrival / 10)) {
        bytes.put(offset + at, data.subarray(at, random.between(at, end)), garbage);
      }
      at = end;
    }
  }
}

/** Bytes that grow, with a pattern in what nobody has written. */
class Bytes {
  #buffer: Buffer;
  #size: number;

  constructor(start: Buffer) {
    this.#buffer = Buffer.alloc(start.length * 2 + 65_536);
    this.#size = start.copy(this.#buffer);
  }

  put(offset: number, data: Buffer, garbage = 0): void {
    this.grow(offset + data.length, garbage);
    data.copy(this.#buffer, offset);
  }

  grow(size: number, garbage = 0): void {
    if (size > this.#size) this.resize(size, garbage);
  }

  resize(size: number, garbage = 0): void {
    if (size > this.#buffer.length) {
      const larger = Buffer.alloc(size * 2);
      this.#buffer.copy(larger, 0, 0, this.#size);
      this.#buffer = larger;
    }
    if (size > this.#size) {
      const pattern = Buffer.alloc(4);
      pattern.writeUInt32LE(garbage);
      this.#buffer.fill(pattern, this.#size, size);
    }
    this.#size = size;
  }

  take(): Buffer {
    return this.#buffer.subarray(0, this.#size);
  }
}
