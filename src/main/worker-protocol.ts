/**
 * What the main thread and the Raft worker say to each other. Times are the worker's monotonic milliseconds (each thread
 * of Bun counts from its own start): the client measures the difference once and converts.
 */
import type { LogIndex, MemberId } from "../base/ids.ts";
import type { LogFields } from "../base/log.ts";
import type { Command, Outcome } from "../cluster/command.ts";
import type {
  BarrierResult,
  ConfigTarget,
  ProposeResult,
  RaftStatus,
  StateBackup,
  StoredEvent,
} from "../cluster/consensus.ts";
import type { MemberStatus, Observation } from "../cluster/observation.ts";
import type { PeerProof } from "../peer/transport.ts";
import type { EngineLimits } from "../raft/engine/limits.ts";
import type { StateParts } from "./state-parts.ts";

export interface WorkerStart {
  readonly databasePath: string;
  readonly credentials: PeerProof;
  /** host:port. */
  readonly listen: string;
  /** Different on each member and at each start. */
  readonly seed: number;
  /** Where they differ from what is good for everybody; for tests. */
  readonly limits?: Partial<EngineLimits>;
}

/** Numbers a question, for its answer. */
export type RequestId = number;

export type ToWorker =
  | { readonly type: "clock"; readonly requestId: RequestId }
  | { readonly type: "start"; readonly start: WorkerStart }
  | {
      readonly type: "propose";
      readonly requestId: RequestId;
      readonly command: Command;
      readonly deadlineMs: number;
    }
  | { readonly type: "publish"; readonly status: MemberStatus; readonly atMs: number }
  | {
      readonly type: "call";
      readonly requestId: RequestId;
      readonly to: MemberId;
      readonly method: string;
      readonly payload: unknown;
      readonly deadlineMs: number;
    }
  | { readonly type: "answer"; readonly requestId: RequestId; readonly answer: Answer }
  | { readonly type: "change-config"; readonly target: ConfigTarget }
  | { readonly type: "barrier"; readonly requestId: RequestId; readonly deadlineMs: number }
  | { readonly type: "backup"; readonly requestId: RequestId }
  | { readonly type: "transfer"; readonly to: MemberId }
  | {
      readonly type: "read-events";
      readonly requestId: RequestId;
      readonly afterId: number;
      readonly countMax: number;
    }
  | { readonly type: "outcome-of"; readonly requestId: RequestId; readonly commandId: string }
  | { readonly type: "renew"; readonly credentials: PeerProof }
  | { readonly type: "close" };

/** What became of a question. */
export type Answer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string };

export type FromWorker =
  | { readonly type: "clock"; readonly requestId: RequestId; readonly nowMs: number }
  /** The worker could not start; nothing is running. */
  | { readonly type: "failed"; readonly message: string }
  /** The peer port is open. */
  | { readonly type: "listening"; readonly port: number }
  /** What of the agreed state is another than when it was told last. */
  | { readonly type: "state"; readonly parts: StateParts; readonly appliedIndex: LogIndex }
  | { readonly type: "raft"; readonly raft: RaftStatus; readonly appliedIndex: LogIndex }
  | { readonly type: "observations"; readonly observations: readonly Observation[] }
  /** Nothing changed but when members were last heard. */
  | { readonly type: "heard"; readonly heard: readonly Heard[] }
  | { readonly type: "proposed"; readonly requestId: RequestId; readonly result: ProposeResult }
  | { readonly type: "barred"; readonly requestId: RequestId; readonly result: BarrierResult }
  | { readonly type: "backed-up"; readonly requestId: RequestId; readonly result: BackupResult }
  | { readonly type: "called"; readonly requestId: RequestId; readonly answer: Answer }
  | {
      readonly type: "incoming";
      readonly requestId: RequestId;
      readonly from: MemberId;
      readonly method: string;
      readonly payload: unknown;
    }
  | { readonly type: "events"; readonly requestId: RequestId; readonly events: readonly StoredEvent[] }
  | { readonly type: "outcome"; readonly requestId: RequestId; readonly outcome: Outcome | null }
  | {
      readonly type: "log";
      readonly level: "error" | "warn" | "info" | "debug";
      readonly event: string;
      readonly fields: LogFields;
    }
  /** This member was removed from its cluster, as of this entry: it must end, and not start again. */
  | { readonly type: "removed"; readonly index: LogIndex; readonly message: string }
  /** The member must end now, with this exit code. */
  | { readonly type: "fatal"; readonly exitCode: number; readonly message: string }
  | { readonly type: "closed" };

export type BackupResult =
  | { readonly ok: true; readonly backup: StateBackup }
  | { readonly ok: false; readonly message: string };

export interface Heard {
  readonly memberId: MemberId;
  readonly statusAtMs: number;
  readonly heardAtMs: number;
}

/** The disk did not take what had to be durable (sysexits: EX_IOERR). */
export const EXIT_DISK_FAILED = 74;
/** The disk is full, and was before (sysexits: EX_CANTCREAT). Start it again once there is room. */
export const EXIT_DISK_FULL = 73;
/** What is stored here is not what a majority has (sysexits: EX_DATAERR). */
export const EXIT_DIVERGED = 65;
/** This member was removed from its cluster (sysexits: EX_NOPERM). A restart changes nothing. */
export const EXIT_REMOVED = 77;
/** Our own code broke a promise inside consensus (sysexits: EX_SOFTWARE). */
export const EXIT_CONSENSUS_BROKEN = 70;
