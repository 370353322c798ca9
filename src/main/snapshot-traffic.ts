/** Snapshots both ways, and copies for people: what is written, offered, pulled and installed, in one directory. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ClusterId, LogIndex, MemberId, Term } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { BulkConnection } from "../peer/transport.ts";
import type { NodeStatus } from "../raft/node.ts";
import { type SnapshotFile, verifySnapshot } from "../store/snapshot-file.ts";
import { removeStale, SnapshotDownload } from "./snapshot-download.ts";
import {
  DONE_METHOD,
  OFFER_METHOD,
  parseDone,
  parseOffer,
  parseRead,
  READ_METHOD,
  type SnapshotOffer,
} from "./snapshot-offer.ts";
import { SnapshotUploads } from "./snapshot-uploads.ts";
import type { BackupResult } from "./worker-protocol.ts";

export interface TrafficPorts {
  readonly dataDirectory: string;
  readonly clusterId: ClusterId;
  readonly store: {
    writeSnapshot(path: string): SnapshotFile;
    termAt(index: LogIndex): Term | null;
  };
  readonly transport: {
    call(to: MemberId, method: string, payload: unknown, deadlineMs: number): Promise<unknown>;
    openBulk(to: MemberId): Promise<BulkConnection>;
  };
  readonly log: Log;
  nowMs(): number;
  raft(): NodeStatus;
  /** Not within what Raft is doing just now. */
  soon(step: () => void): void;
  reportSnapshot(to: MemberId): void;
  install(from: MemberId, offer: SnapshotOffer, path: string): void;
}

const CALL_MS = 2000;

const BACKUP_PREFIX = "backup-";

export class SnapshotTraffic {
  readonly #ports: TrafficPorts;
  readonly #directory: string;
  readonly #uploads: SnapshotUploads;
  readonly #download: SnapshotDownload;
  #nextBackup = 1;

  constructor(ports: TrafficPorts) {
    this.#ports = ports;
    this.#directory = join(ports.dataDirectory, "snapshots");
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    removeLeftovers(this.#directory);
    removeStale(this.#directory, Date.now());
    this.#uploads = this.#makeUploads();
    this.#download = this.#makeDownload();
  }

  /** Raft says that this follower needs one. */
  wanted(to: MemberId): void {
    this.#ports.soon(() => this.#uploads.wanted(to));
  }

  /** There is a way to this member again. */
  connected(id: MemberId): void {
    this.#ports.soon(() => this.#uploads.reconnected(id));
  }

  /** Now and then. */
  look(): void {
    this.#uploads.look();
  }

  stopSending(): void {
    this.#uploads.stop();
  }

  /** What another leader began is not finished under this one, unless it offers the same. */
  leaderChanged(leaderId: MemberId | null, term: Term): void {
    this.#download.abandonUnless(leaderId, term);
  }

  /** Null for a method that is none of ours. */
  onCall(from: MemberId, method: string, payload: unknown): Promise<unknown> | null {
    if (method === OFFER_METHOD) return attempt(() => this.#offered(from, payload));
    if (method === DONE_METHOD) return attempt(() => this.#done(from, payload));
    return null;
  }

  onBulkCall(from: MemberId, method: string, payload: unknown): Promise<unknown> {
    return attempt(() => {
      const read = method === READ_METHOD ? parseRead(payload) : null;
      if (read === null) throw new Error(`'${method}' is not asked on a bulk connection`);
      return this.#uploads.read(from, read.id, read.offset);
    });
  }

  /** A copy of what is agreed, for people. Whoever asked removes it; what is left of an earlier life is removed at start. */
  backup(): BackupResult {
    const path = join(this.#directory, `${BACKUP_PREFIX}${this.#nextBackup}`);
    this.#nextBackup += 1;
    try {
      const { meta } = this.#ports.store.writeSnapshot(path);
      return { ok: true, backup: { path, term: meta.term, index: meta.index } };
    } catch (error) {
      return { ok: false, message: error instanceof Error ? error.message : String(error) };
    }
  }

  close(): void {
    this.#download.abandon("this member ends");
    this.#uploads.close();
  }

  #offered(from: MemberId, payload: unknown): null {
    const offer = parseOffer(payload);
    if (offer === null) throw new Error("that is no offer of a snapshot");
    const { leaderId, term, commitIndex } = this.#ports.raft();
    if (from !== leaderId || offer.term !== term)
      throw new Error("it comes from somebody who does not lead here");
    if (offer.meta.index <= commitIndex) throw new Error(`everything up to ${commitIndex} is here already`);
    this.#download.offered(from, offer);
    return null;
  }

  #done(from: MemberId, payload: unknown): null {
    const done = parseDone(payload);
    if (done === null) throw new Error("that does not say which snapshot");
    this.#uploads.done(from, done.id, done.error);
    return null;
  }

  #makeUploads(): SnapshotUploads {
    const { store, transport, log, clusterId } = this.#ports;
    return new SnapshotUploads({
      path: join(this.#directory, "outgoing"),
      log,
      nowMs: () => this.#ports.nowMs(),
      term: () => this.#ports.raft().term,
      write: (path) => store.writeSnapshot(path),
      find: (path) => {
        try {
          return verifySnapshot(path, clusterId);
        } catch {
          // None, or one that is not whole: a new one is written.
          return null;
        }
      },
      isUsable: ({ index, term }) => {
        const { floorIndex, appliedIndex } = this.#ports.raft();
        return index >= floorIndex && index <= appliedIndex && store.termAt(index) === term;
      },
      offer: async (to, offer) => {
        await transport.call(to, OFFER_METHOD, offer, CALL_MS);
      },
      ended: (to) => this.#ports.reportSnapshot(to),
    });
  }

  #makeDownload(): SnapshotDownload {
    const { transport, log, clusterId } = this.#ports;
    return new SnapshotDownload({
      directory: this.#directory,
      log,
      openBulk: (from) => transport.openBulk(from),
      verify: (path) => verifySnapshot(path, clusterId).sha256,
      install: (from, offer, path) => this.#ports.install(from, offer, path),
      report: (to, id, error) => {
        transport.call(to, DONE_METHOD, { id, error }, CALL_MS).catch((reason: unknown) => {
          log.warn("snapshot.not-reported", { to, reason: reason instanceof Error ? reason.message : "" });
        });
      },
    });
  }
}

/** Copies for people, and files that were never whole. */
function removeLeftovers(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(BACKUP_PREFIX) || name.endsWith(".new"))
      rmSync(join(directory, name), { force: true });
  }
}

function attempt(step: () => unknown): Promise<unknown> {
  return new Promise((resolve) => resolve(step()));
}
