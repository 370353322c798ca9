/**
 * The leader's side of snapshots: one file for all followers that need one, offered to each, pulled by them in chunks. At
 * most two at a time, and whoever stops pulling loses its place, so that compaction and heartbeats wait for nobody.
 */
import { closeSync, openSync, readSync, rmSync } from "node:fs";
import type { LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { SnapshotMeta } from "../raft/engine/message.ts";
import { CHUNK_BYTES, type SnapshotOffer } from "./snapshot-offer.ts";

/** A snapshot that lies on our disk. */
export interface StoredSnapshot {
  readonly path: string;
  readonly meta: SnapshotMeta;
  readonly bytes: number;
  readonly sha256: string;
}

export interface UploadPorts {
  /** Where the file lies. */
  readonly path: string;
  readonly log: Log;
  nowMs(): number;
  term(): Term;
  /** Writes what is applied now. Throws what the disk answers. */
  write(path: string): StoredSnapshot;
  /** What an earlier life of this process left at `path`; null where nothing usable lies there. */
  find(path: string): StoredSnapshot | null;
  /** Whether the log goes on where this snapshot ends. */
  isUsable(at: { readonly index: LogIndex; readonly term: Term }): boolean;
  /** Tells a follower of it. Rejects if it does not want it, or cannot be told. */
  offer(to: MemberId, offer: SnapshotOffer): Promise<void>;
  /** Raft may look again whether the follower needs one. */
  ended(to: MemberId): void;
}

/** At a time, of one leader. */
export const UPLOADS_MAX = 2;
/** A follower that pulls nothing for so long has lost its place. */
export const STALLED_MS = 10_000;
/** What failed is not tried again before this; each further failure doubles it. */
const COOL_MS_MIN = 500;
const COOL_MS_MAX = 15_000;
/** A file that nobody wanted for so long is removed. */
const UNWANTED_MS = 10 * 60_000;

export class SnapshotUploads {
  readonly #ports: UploadPorts;
  /** When each of them pulled last. */
  readonly #active = new Map<MemberId, { lastMs: number }>();
  readonly #waiting = new Set<MemberId>();
  /** Failed; Raft is told then. */
  readonly #cooling = new Map<MemberId, number>();
  /** In a row. */
  readonly #failures = new Map<MemberId, number>();
  #current: { readonly snapshot: StoredSnapshot; readonly file: number } | null = null;
  #wantedAtMs = 0;
  #hasLooked = false;

  constructor(ports: UploadPorts) {
    this.#ports = ports;
  }

  get activeCount(): number {
    return this.#active.size;
  }

  /** Raft says that this follower needs one. */
  wanted(to: MemberId): void {
    this.#cooling.delete(to);
    if (this.#active.has(to)) return;
    this.#waiting.add(to);
    this.#startNext();
  }

  /** A follower that was away may have been restarted, and know of no offer. */
  reconnected(to: MemberId): void {
    if (this.#current !== null && this.#active.has(to)) this.#offer(to, this.#current.snapshot);
    if (!this.#cooling.delete(to)) return;
    this.#failures.delete(to);
    this.#ports.ended(to);
  }

  /** A chunk. Throws where there is none: the follower waits for another offer then. */
  read(from: MemberId, id: string, offset: number): Uint8Array {
    const current = this.#current;
    const upload = this.#active.get(from);
    if (current === null || upload === undefined || current.snapshot.sha256 !== id) {
      throw new Error("this snapshot is not offered (any more)");
    }
    if (offset >= current.snapshot.bytes) throw new Error(`the snapshot has ${current.snapshot.bytes} bytes`);
    upload.lastMs = this.#ports.nowMs();
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, current.snapshot.bytes - offset));
    const count = readSync(current.file, chunk, 0, chunk.byteLength, offset);
    if (count !== chunk.byteLength) throw new Error("the snapshot's file is shorter than it was");
    return chunk;
  }

  /** The follower is through with it. @param error what was wrong with it; null: it has it. */
  done(from: MemberId, id: string, error: string | null): void {
    if (!this.#active.has(from) || this.#current?.snapshot.sha256 !== id) return;
    if (error === null) {
      this.#ports.log.info("snapshot.sent", { to: from, index: this.#current.snapshot.meta.index });
      this.#active.delete(from);
      this.#failures.delete(from);
      this.#ports.ended(from);
      if (this.#active.size === 0 && this.#waiting.size === 0 && this.#cooling.size === 0) this.#remove();
    } else {
      // Whatever is wrong with it, the next one is written anew.
      if (this.#active.size === 1) this.#remove();
      this.#failed(from, error);
    }
    this.#startNext();
  }

  /** To be called now and then: ends what stalls, tells of what failed, and removes what nobody wants. */
  look(): void {
    const nowMs = this.#ports.nowMs();
    for (const [to, { lastMs }] of [...this.#active]) {
      if (nowMs - lastMs >= STALLED_MS) this.#failed(to, `it has pulled nothing for ${STALLED_MS / 1000} s`);
    }
    for (const [to, untilMs] of [...this.#cooling]) {
      if (nowMs < untilMs) continue;
      this.#cooling.delete(to);
      this.#ports.ended(to);
    }
    const isWanted = this.#active.size + this.#waiting.size + this.#cooling.size > 0;
    if (isWanted) this.#wantedAtMs = nowMs;
    else if (this.#current !== null && nowMs - this.#wantedAtMs >= UNWANTED_MS) this.#remove();
    this.#startNext();
  }

  /** The leadership is lost. The file stays for a while: another reign may want it. */
  stop(): void {
    this.#active.clear();
    this.#waiting.clear();
    this.#cooling.clear();
    this.#failures.clear();
  }

  close(): void {
    this.stop();
    if (this.#current !== null) closeSync(this.#current.file);
    this.#current = null;
  }

  #startNext(): void {
    for (const to of this.#waiting) {
      if (this.#active.size >= UPLOADS_MAX) return;
      this.#waiting.delete(to);
      this.#start(to);
    }
  }

  #start(to: MemberId): void {
    this.#active.set(to, { lastMs: this.#ports.nowMs() });
    let snapshot: StoredSnapshot;
    try {
      snapshot = this.#usable();
    } catch (error) {
      this.#failed(to, error instanceof Error ? error.message : String(error));
      return;
    }
    this.#offer(to, snapshot);
  }

  #offer(to: MemberId, { meta, bytes, sha256 }: StoredSnapshot): void {
    const upload = this.#active.get(to);
    this.#ports.log.info("snapshot.offered", { to, index: meta.index, bytes });
    this.#ports.offer(to, { id: sha256, bytes, term: this.#ports.term(), meta }).catch((error: unknown) => {
      if (upload === undefined || this.#active.get(to) !== upload) return;
      this.#failed(to, error instanceof Error ? error.message : String(error));
      this.#startNext();
    });
  }

  /** The present file where it serves, else a new one. Who pulls an old one is offered the new one in time. */
  #usable(): StoredSnapshot {
    if (this.#current === null && !this.#hasLooked) {
      this.#hasLooked = true;
      const found = this.#ports.find(this.#ports.path);
      if (found !== null) this.#keep(found);
    }
    if (this.#current !== null && this.#ports.isUsable(this.#current.snapshot.meta)) {
      return this.#current.snapshot;
    }
    this.#remove();
    return this.#keep(this.#ports.write(this.#ports.path));
  }

  #keep(snapshot: StoredSnapshot): StoredSnapshot {
    this.#current = { snapshot, file: openSync(snapshot.path, "r") };
    return snapshot;
  }

  #remove(): void {
    if (this.#current !== null) closeSync(this.#current.file);
    this.#current = null;
    rmSync(this.#ports.path, { force: true });
  }

  #failed(to: MemberId, reason: string): void {
    this.#active.delete(to);
    const failures = this.#failures.get(to) ?? 0;
    this.#failures.set(to, failures + 1);
    const coolMs = Math.min(COOL_MS_MIN * 2 ** failures, COOL_MS_MAX);
    this.#cooling.set(to, this.#ports.nowMs() + coolMs);
    this.#ports.log.warn("snapshot.not-sent", { to, reason });
  }
}
