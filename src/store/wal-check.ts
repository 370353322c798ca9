/**
 * A look at the write-ahead log before SQLite sees it. SQLite reads it up to the first frame that is not whole and takes
 * that for its end. After a power failure that is right: what follows was never synced. After a bit that flipped it is
 * not: what follows was synced, and acknowledged, and would be gone without a word.
 *
 * Each frame holds the checksum of itself and of all before it. So a frame is known to be whole, although one before it is
 * not, if it fits the checksum that its neighbour *holds*. Whole commits behind a broken frame can be what a power failure
 * left only as long as none of them was waited for; the store waits often enough (`UNSYNCED_COMMITS_MAX`) that more than a
 * few of them prove damage.
 */
import { readFileSync } from "node:fs";
import { StoreError } from "./store-error.ts";

/** So many commits in a row may go without a sync before one is made to wait. */
export const UNSYNCED_COMMITS_MAX = 7;

/** Their frames, and those of one commit that was being synced, may be on the disk in any order. */
const UNORDERED_COMMITS_MAX = UNSYNCED_COMMITS_MAX + 1;

/** Of a log with checksums over little-endian words; others are made on machines that guacamole does not run on. */
const MAGIC = 0x377f0682;
const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** What SQLite uses unless told otherwise, and it is not. */
const PAGE_BYTES = 4096;

/** @throws {StoreError} if commits lie behind a place that is not what was written. */
export function refuseRottenWal(databasePath: string): void {
  const wal = read(`${databasePath}-wal`);
  if (wal === null) return;
  const frames = new Frames(wal);
  const end = frames.countWhole();
  const commits = frames.countCommitsBehind(end);
  if (commits <= UNORDERED_COMMITS_MAX) return;
  throw new StoreError(
    `the write-ahead log ${databasePath}-wal is damaged: frame ${end + 1} is not what was written, and ${commits} commits follow it. Do not repair it by hand: remove this member from the cluster, and let the host join as a new one with an empty data directory`,
  );
}

type Sum = readonly [number, number];

class Frames {
  readonly #bytes: DataView;
  readonly #words: Uint32Array;
  readonly #count: number;
  readonly #isHeaderWhole: boolean;
  readonly #salt: Sum;

  constructor(wal: Uint8Array) {
    // A copy that begins at a word.
    const { buffer } = new Uint8Array(wal);
    this.#bytes = new DataView(buffer);
    this.#words = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
    this.#count = Math.max(
      0,
      Math.floor((buffer.byteLength - HEADER_BYTES) / (FRAME_HEADER_BYTES + PAGE_BYTES)),
    );
    this.#isHeaderWhole =
      this.#bytes.getUint32(0) === MAGIC &&
      isSame(this.#sum([0, 0], 0, HEADER_BYTES - 8), this.#pairAt(HEADER_BYTES - 8));
    // Frames of an earlier round through the file have another salt.
    this.#salt =
      this.#isHeaderWhole || this.#count === 0 ? this.#pairAt(16) : this.#pairAt(this.#start(0) + 8);
  }

  /** How many frames SQLite will read. */
  countWhole(): number {
    if (!this.#isHeaderWhole) return 0;
    let count = 0;
    while (count < this.#count && this.#isWhole(count)) count += 1;
    return count;
  }

  countCommitsBehind(end: number): number {
    let count = 0;
    for (let at = end; at < this.#count; at += 1) if (this.#isCommit(at) && this.#isWhole(at)) count += 1;
    return count;
  }

  #isCommit(at: number): boolean {
    return this.#bytes.getUint32(this.#start(at) + 4) !== 0;
  }

  /** Of this round, and fitting what the frame before it holds. */
  #isWhole(at: number): boolean {
    const start = this.#start(at);
    if (!isSame(this.#pairAt(start + 8), this.#salt)) return false;
    const before = at === 0 ? this.#pairAt(HEADER_BYTES - 8) : this.#pairAt(this.#start(at - 1) + 16);
    const head = this.#sum(before, start, 8);
    return isSame(this.#sum(head, start + FRAME_HEADER_BYTES, PAGE_BYTES), this.#pairAt(start + 16));
  }

  #start(at: number): number {
    return HEADER_BYTES + at * (FRAME_HEADER_BYTES + PAGE_BYTES);
  }

  #pairAt(offset: number): Sum {
    return [this.#bytes.getUint32(offset), this.#bytes.getUint32(offset + 4)];
  }

  /** SQLite's checksum (sqlite.org/fileformat2.html, "Checksum Algorithm"). */
  #sum([first, second]: Sum, start: number, length: number): Sum {
    const words = this.#words;
    let [even, odd] = [first, second];
    for (let at = start >> 2; at < (start + length) >> 2; at += 2) {
      even = (even + (words[at] ?? 0) + odd) >>> 0;
      odd = (odd + (words[at + 1] ?? 0) + even) >>> 0;
    }
    return [even, odd];
  }
}

function isSame(a: Sum, b: Sum): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

/** Null where there is none, or nothing in it. */
function read(path: string): Uint8Array | null {
  try {
    const wal = readFileSync(path);
    return wal.byteLength <= HEADER_BYTES ? null : wal;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError(`cannot read ${path}: ${reason}`, { cause: error });
  }
}
