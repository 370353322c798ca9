/**
 * A snapshot as a file: one JSON text per line. The first line says what it is, the last one holds the SHA-256 of all
 * the others; between them are the rows of the state machine. The same state gives the same bytes on every member, so
 * what one member has begun to send, another can finish.
 *
 * Reading is done twice, by the same code: once to see that the file is good, once to install it.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import type { ClusterId, LogIndex, Term } from "../base/ids.ts";
import type { ClusterConfig, PlacedConfig, SnapshotMeta } from "../raft/engine/message.ts";
import { writeDurably } from "./durable-file.ts";
import type { SnapshotRecord } from "./snapshot-rows.ts";
import { StoreError } from "./store-error.ts";

const FORMAT = "guacamole-snapshot";
/** A reader refuses a newer one: what it does not understand it must not leave out. */
const VERSION = 1;

const CHUNK_BYTES = 256 * 1024;

/** A file that is there whole. */
export interface SnapshotFile {
  readonly path: string;
  readonly meta: SnapshotMeta;
  readonly clusterId: ClusterId;
  readonly bytes: number;
  /** Of the whole file, hexadecimal. */
  readonly sha256: string;
}

export interface SnapshotHeader {
  readonly clusterId: string;
  readonly index: LogIndex;
  readonly term: Term;
  readonly config: PlacedConfig;
  /** The hash chain of the log at `index`, hexadecimal. */
  readonly chain: string;
  /** Hexadecimal; null before the hashes begin. */
  readonly stateHash: string | null;
}

interface Trailer {
  readonly records: number;
  readonly sha256: string;
}

/** Writes crash-safely: `path` is there whole or not at all. */
export function writeSnapshotFile(
  path: string,
  header: SnapshotHeader,
  records: Iterable<SnapshotRecord>,
): SnapshotFile {
  const rows = new Bun.CryptoHasher("sha256");
  const whole = new Bun.CryptoHasher("sha256");
  let bytes = 0;
  writeDurably(path, (write) => {
    let waiting: string[] = [];
    let waitingLength = 0;
    const flush = () => {
      const chunk = Buffer.from(waiting.join(""));
      waiting = [];
      waitingLength = 0;
      rows.update(chunk);
      whole.update(chunk);
      bytes += chunk.byteLength;
      write(chunk);
    };
    const line = (value: unknown) => {
      const text = `${JSON.stringify(value)}\n`;
      waiting.push(text);
      waitingLength += text.length;
      if (waitingLength >= CHUNK_BYTES) flush();
    };
    line({ format: FORMAT, version: VERSION, ...header });
    let count = 0;
    for (const record of records) {
      line(record);
      count += 1;
    }
    flush();
    const trailer: Trailer = { records: count, sha256: rows.digest("hex") };
    line(trailer);
    flush();
  });
  return fileOf(path, header, bytes, whole.digest("hex"));
}

/**
 * Reads a snapshot from end to end.
 *
 * @param clusterId whose it must be; null for any.
 * @throws {StoreError} if it is none, is damaged, is of another cluster, or was written by a newer version.
 */
export function verifySnapshot(path: string, clusterId: ClusterId | null): SnapshotFile {
  const whole = new Bun.CryptoHasher("sha256");
  const { header, records } = readSnapshot(path, clusterId, (chunk) => whole.update(chunk));
  while (records.next().done !== true);
  return fileOf(path, header, statSync(path).size, whole.digest("hex"));
}

/**
 * The header, and the rows one after the other. Whoever takes all of them has seen the checksum hold; it is wrong to
 * keep anything of them before.
 *
 * @throws {StoreError} see `verifySnapshot`; of the rows and the checksum only once they are asked for.
 */
export function readSnapshot(
  path: string,
  clusterId: string | null,
  onChunk: (chunk: Uint8Array) => void = () => undefined,
): { readonly header: SnapshotHeader; readonly records: Generator<SnapshotRecord> } {
  const lines = readLines(path, onChunk);
  try {
    const line = lines.next().value ?? new Uint8Array();
    const header = headerOf(path, line);
    if (clusterId !== null && header.clusterId !== clusterId) {
      throw new StoreError(
        `the snapshot ${path} is of cluster ${header.clusterId}, not of ${clusterId}: take one of the right cluster`,
      );
    }
    return { header, records: recordsOf(path, lines, new Bun.CryptoHasher("sha256").update(line)) };
  } catch (error) {
    // Nobody will read on: the file is closed.
    lines.return(undefined);
    throw error;
  }
}

function* recordsOf(
  path: string,
  lines: Generator<Uint8Array, undefined>,
  hasher: Bun.CryptoHasher,
): Generator<SnapshotRecord, undefined> {
  let count = 0;
  for (const line of lines) {
    const value = parse(line);
    if (Array.isArray(value)) {
      hasher.update(line);
      if (!isRecord(value)) throw damaged(path, "it holds a row of an unknown form");
      count += 1;
      yield value;
      continue;
    }
    const { records, sha256 } = (value ?? {}) as Partial<Trailer>;
    if (sha256 !== hasher.digest("hex")) throw damaged(path, "its contents do not match its checksum");
    if (records !== count) throw damaged(path, "rows are missing");
    if (lines.next().done !== true) throw damaged(path, "something follows its end");
    return;
  }
  throw damaged(path, "its end is missing");
}

function headerOf(path: string, line: Uint8Array): SnapshotHeader {
  const value = parse(line) as (Partial<SnapshotHeader> & { format?: unknown; version?: unknown }) | null;
  if (value === null || value.format !== FORMAT || typeof value.version !== "number")
    throw new StoreError(`${path} is not a snapshot of guacamole`);
  if (value.version > VERSION) {
    throw new StoreError(
      `the snapshot ${path} was written by a newer version of guacamole (format ${value.version}, this version reads ${VERSION}): use that version or a later one`,
    );
  }
  const { clusterId, index, term, config, chain, stateHash } = value;
  const isWhole =
    typeof clusterId === "string" &&
    Number.isSafeInteger(index) &&
    Number.isSafeInteger(term) &&
    isPlacedConfig(config) &&
    typeof chain === "string" &&
    /^[0-9a-f]{64}$/.test(chain) &&
    (stateHash === null || (typeof stateHash === "string" && /^[0-9a-f]{64}$/.test(stateHash)));
  if (!isWhole) throw damaged(path, "its first line is not whole");
  return { clusterId, index: index as LogIndex, term: term as Term, config, chain, stateHash };
}

function isPlacedConfig(value: unknown): value is PlacedConfig {
  if (typeof value !== "object" || value === null) return false;
  const { index, config } = value as Partial<PlacedConfig>;
  const { voters, outgoing, learners, learnersNext } = (config ?? {}) as Partial<ClusterConfig>;
  return Number.isSafeInteger(index) && [voters, outgoing, learners, learnersNext].every(Array.isArray);
}

/** Of each kind of record, what its fields are. */
const FORMS: Readonly<Record<SnapshotRecord[0], readonly string[]>> = {
  state: ["string"],
  event: ["number", "string"],
  reply: ["number", "string", "string"],
  session: ["string", "number", "number"],
  "session-reply": ["string", "number", "string"],
};

function isRecord(value: readonly unknown[]): value is SnapshotRecord {
  const [kind, ...fields] = value;
  const form =
    typeof kind === "string" && Object.hasOwn(FORMS, kind) ? FORMS[kind as SnapshotRecord[0]] : null;
  return (
    form !== null && form.length === fields.length && form.every((type, at) => typeof fields[at] === type)
  );
}

/** Each line with its line break; a last one without is not a line. */
function* readLines(path: string, onChunk: (chunk: Uint8Array) => void): Generator<Uint8Array, undefined> {
  const file = openToRead(path);
  try {
    let rest: Uint8Array[] = [];
    for (;;) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const length = readSync(file, chunk, 0, CHUNK_BYTES, null);
      if (length === 0) break;
      onChunk(chunk.subarray(0, length));
      let start = 0;
      for (;;) {
        const end = chunk.subarray(0, length).indexOf(0x0a, start);
        if (end < 0) break;
        yield Buffer.concat([...rest, chunk.subarray(start, end + 1)]);
        rest = [];
        start = end + 1;
      }
      if (start < length) rest.push(chunk.subarray(start, length));
    }
    if (rest.length > 0) throw damaged(path, "its end is missing");
  } finally {
    closeSync(file);
  }
}

function openToRead(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StoreError(`cannot read the snapshot ${path}: ${reason}`, { cause: error });
  }
}

function parse(line: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch {
    // Not JSON: whoever asked says what that means.
    return null;
  }
}

function damaged(path: string, what: string): StoreError {
  return new StoreError(`the snapshot ${path} is damaged: ${what}. Fetch or make it again`);
}

function fileOf(path: string, header: SnapshotHeader, bytes: number, sha256: string): SnapshotFile {
  const { clusterId, index, term, config } = header;
  return { path, meta: { index, term, config }, clusterId: clusterId as ClusterId, bytes, sha256 };
}
