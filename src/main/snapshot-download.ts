/**
 * A follower's side of snapshots: pulls the bytes that the leader offers into a file, over a connection of their own, goes
 * on where it stopped after a lost connection or a restart, checks the whole, and hands it over once. One at a time.
 */
import { closeSync, fsyncSync, openSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { MemberId, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { BulkConnection } from "../peer/transport.ts";
import { CHUNK_BYTES, READ_METHOD, type SnapshotOffer } from "./snapshot-offer.ts";

export interface DownloadPorts {
  /** Where unfinished ones lie. */
  readonly directory: string;
  readonly log: Log;
  openBulk(from: MemberId): Promise<BulkConnection>;
  /** SHA-256 of a snapshot that is whole. Throws what is wrong with it. */
  verify(path: string): string;
  /** Hands it to Raft. It is durable, or was not needed, on return. */
  install(from: MemberId, offer: SnapshotOffer, path: string): void;
  /** Tells the leader. @param error what was wrong with it; null: it was taken. */
  report(to: MemberId, id: string, error: string | null): void;
}

const CHUNK_DEADLINE_MS = 5000;
const RETRY_MS = 200;
/** So often in a row nothing comes before it is given up; the leader offers again. */
const FAILURES_MAX = 20;
/** What lies there unfinished for longer is not finished any more. */
export const STALE_MS = 60 * 60_000;

const PREFIX = "incoming-";

interface Run {
  readonly offer: SnapshotOffer;
  readonly from: MemberId;
}

export class SnapshotDownload {
  readonly #ports: DownloadPorts;
  #running: Run | null = null;
  #bulk: BulkConnection | null = null;

  constructor(ports: DownloadPorts) {
    this.#ports = ports;
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  /** The leader has one for us. */
  offered(from: MemberId, offer: SnapshotOffer): void {
    const { id, term } = offer;
    const running = this.#running;
    if (running !== null && running.from === from && running.offer.id === id && running.offer.term === term)
      return;
    this.abandon("the leader offers another one");
    removeUnfinished(this.#ports.directory, (name) => name !== `${PREFIX}${id}`);
    const next = { offer, from };
    this.#running = next;
    void this.#pull(next);
  }

  /** Only the leader that offered it, in the term in which it did, can have it installed. */
  abandonUnless(leaderId: MemberId | null, term: Term): void {
    if (this.#running?.from === leaderId && this.#running.offer.term === term) return;
    this.abandon("another leader");
  }

  /** Its bytes stay: they may be offered again. */
  abandon(reason: string): void {
    if (this.#running === null) return;
    this.#ports.log.info("snapshot.abandoned", { index: this.#running.offer.meta.index, reason });
    this.#running = null;
    this.#bulk?.close();
    this.#bulk = null;
  }

  async #pull(run: Run): Promise<void> {
    const { offer, from } = run;
    const path = join(this.#ports.directory, `${PREFIX}${offer.id}`);
    const startedBytes = sizeOf(path);
    this.#ports.log.info("snapshot.pulling", {
      from,
      index: offer.meta.index,
      bytes: offer.bytes,
      startedBytes,
    });
    for (let failures = 0; failures < FAILURES_MAX; failures += 1) {
      const before = sizeOf(path);
      try {
        await this.#pullOnce(run, path);
        if (this.#running === run) this.#finish(run, path);
        return;
      } catch (error) {
        if (this.#running !== run) return;
        const reason = error instanceof Error ? error.message : String(error);
        this.#ports.log.warn("snapshot.interrupted", { from, atBytes: sizeOf(path), reason });
        if (isNoRoom(error)) {
          // What is there takes the room that the log needs.
          rmSync(path, { force: true });
          break;
        }
        if (sizeOf(path) > before) failures = 0;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      if (this.#running !== run) return;
    }
    this.abandon("nothing comes any more");
  }

  async #pullOnce(run: Run, path: string): Promise<void> {
    const { id, bytes } = run.offer;
    if (sizeOf(path) > bytes) rmSync(path);
    const bulk = await this.#ports.openBulk(run.from);
    if (this.#running !== run) {
      bulk.close();
      return;
    }
    this.#bulk = bulk;
    const file = openSync(path, "a", 0o600);
    try {
      for (let offset = sizeOf(path); offset < bytes; ) {
        const chunk = await bulk.call(READ_METHOD, { id, offset }, CHUNK_DEADLINE_MS);
        if (this.#running !== run) return;
        const isChunk =
          chunk instanceof Uint8Array && chunk.byteLength > 0 && chunk.byteLength <= CHUNK_BYTES;
        if (!isChunk || offset + chunk.byteLength > bytes) throw new Error("that is no chunk of it");
        for (let written = 0; written < chunk.byteLength; )
          written += writeSync(file, chunk, written, chunk.byteLength - written);
        offset += chunk.byteLength;
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
      bulk.close();
      if (this.#bulk === bulk) this.#bulk = null;
    }
  }

  #finish({ offer, from }: Run, path: string): void {
    const error = this.#whyBad(path, offer);
    if (error === null) this.#ports.install(from, offer, path);
    else this.#ports.log.error("snapshot.damaged", { from, index: offer.meta.index, error });
    this.#running = null;
    // Installed, or of no use: either way nobody needs the bytes.
    rmSync(path, { force: true });
    this.#ports.report(from, offer.id, error);
  }

  #whyBad(path: string, offer: SnapshotOffer): string | null {
    try {
      const sha256 = this.#ports.verify(path);
      return sha256 === offer.id ? null : "its checksum is not the one that was announced";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

/** What an earlier life of this process left unfinished for too long. */
export function removeStale(directory: string, wallMs: number): void {
  removeUnfinished(directory, (name) => wallMs - statSync(join(directory, name)).mtimeMs > STALE_MS);
}

function removeUnfinished(directory: string, isWrong: (name: string) => boolean): void {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(PREFIX) && isWrong(name)) rmSync(join(directory, name), { force: true });
  }
}

function isNoRoom(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOSPC";
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
